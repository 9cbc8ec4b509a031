"""A contestant of ``nasp bench quality``: a strategy with settings, under a label."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from nasp.bilevel.settings import SearchConfig
from nasp.errors import UsageError
from nasp.jobs.options import named_values
from nasp.strategies import find_strategy

FOR_ALL = ("strategy", "epochs", "epoch_steps", "minutes", "seed", "device", "checkpoint_minutes")
"""Fields of a search that are not one contestant's own."""


CONTROLS = ("params", "random")
"""Strategies without which no comparison says much: the largest network, and random cells."""

BOUNDS = ("at_most", "target", "within")


class Contestant(BaseModel):
    """A strategy as it takes part.

    Attributes:
        label: its name in the results.
        strategy: a name in `nasp.strategies.STRATEGIES` or of a plug-in.
        search: fields of `SearchConfig` that differ from the default.
        settings: the strategy's own settings that differ from the default.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str
    strategy: str
    search: dict[str, Any] = Field(default_factory=dict)
    settings: dict[str, Any] = Field(default_factory=dict)


def contestants_of(strategies: Sequence[str], variants: Sequence[str]) -> list[Contestant]:
    """Return the strategies with their defaults, then the variants.

    Args:
        strategies: names, which are also the labels.
        variants: texts for `parse_contestant`.

    Raises:
        UsageError: there is no such strategy, or two have the same label.
    """
    found = [parse_contestant(name) for name in strategies] + [
        parse_contestant(v) for v in variants
    ]
    labels = [contestant.label for contestant in found]
    for label in labels:
        if labels.count(label) > 1:
            raise UsageError(f"Two contestants are called '{label}': give one another label.")
    if not found:
        raise UsageError("There is nobody to compare: give --strategies or --contestant.")
    return found


def with_controls(
    contestants: Sequence[Contestant],
    reference: str,
    is_random_trained: Callable[[Contestant], bool],
) -> list[Contestant]:
    """Return contestants, and the controls that are not among them.

    Args:
        contestants: who was asked for.
        reference: label of the one that the controls are for, or else the first: both have its
            bounds.
        is_random_trained: whether random cells beside this one are selected by training.
    """
    first = next((c for c in contestants if c.label == reference), contestants[0])
    there, labels = {c.strategy for c in contestants}, {c.label for c in contestants}
    bounds = {key: first.search[key] for key in BOUNDS if key in first.search}
    # Random cells have no supernet: trainings alone can decide among them.
    random = dict(bounds)
    if is_random_trained(first):
        random |= {"select": "train", "selection": dict(first.search.get("selection", {}))}
    searches = {"params": bounds, "random": random}
    return [
        *contestants,
        *(
            Contestant(
                label=f"{name}-control" if name in labels else name,
                strategy=name,
                search=searches[name],
            )
            for name in CONTROLS
            if name not in there
        ),
    ]


def parse_contestant(text: str) -> Contestant:
    """Read ``LABEL=STRATEGY key=value …``, or the name of a strategy alone.

    A key is a field of `SearchConfig` (``select=train``), with a dot a field within one
    (``selection.epochs=8``); any other name, and any that follows ``settings.``, is a setting of
    the strategy. Values are JSON, or else text.

    Raises:
        UsageError: there is no such strategy, or the text does not have this form.
    """
    try:
        head, *pairs = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"A contestant is LABEL=STRATEGY key=value ..., not '{text}'.") from error
    label, _, strategy = head.rpartition("=")
    find_strategy(strategy)
    if "," in label or not re.fullmatch(r"\S*", label):
        raise UsageError(f"The label '{label}' must have neither commas nor spaces.")
    search: dict[str, Any] = {}
    settings: dict[str, Any] = {}
    for key, value in named_values("--contestant", pairs).items():
        field, _, inner = key.partition(".")
        if field in FOR_ALL:
            raise UsageError(f"'{field}' is the same for all contestants: it is no key of one.")
        if field == "settings" and inner:
            settings[inner] = value
        elif field not in SearchConfig.model_fields:
            settings[key] = value
        elif inner:
            search.setdefault(field, {})[inner] = value
        else:
            search[field] = value
    return Contestant(label=label or strategy, strategy=strategy, search=search, settings=settings)
