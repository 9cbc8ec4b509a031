"""From what a user gave to jobs: the defaults, and the given on top."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from nasp.bilevel.selection import SelectConfig
from nasp.bilevel.settings import SearchConfig, selecting
from nasp.domains import Domain, default_domain, domain_of, fitting_space, refuse_foreign
from nasp.errors import UsageError, validated
from nasp.jobs.job import Size
from nasp.jobs.search_job import SearchJob
from nasp.jobs.targets import found_architecture, job_of
from nasp.jobs.train_job import TrainJob
from nasp.runs.folder import RunFolder
from nasp.strategies import find_strategy, strategy_config
from nasp.supernet.architecture import Architecture

Options = Mapping[str, Any]


def search_job(
    data: Options,
    space: str | None,
    size: Options,
    search: Options,
    settings: Options,
    pairs: Sequence[str] = (),
    selection: Options | None = None,
    bound_at: str | None = None,
) -> SearchJob:
    """Return the job of a search.

    Args:
        data: fields of the domain's `DataConfig` that were given; without a name of data, those
            that are embedded for the space.
        space: the search space's name, or None for the data's default.
        size: fields of `Size` and of the domain's settings of a supernet that were given.
        search: fields of `SearchConfig` that were given, without `settings`.
        settings: the strategy's settings that were given.
        pairs: more of them, each ``NAME=VALUE``.
        selection: fields of `SelectConfig` that were given.
        bound_at: the size at which bounds hold, ``channels=36,cells=20``; what is left out is
            that of a training.

    Raises:
        UsageError: a name or a value does not fit.
    """
    name = data.get("name") or default_domain(space).embedded
    domain = domain_of(name)
    chosen = fitting_space(space or domain.default_space({**data, "name": name}), name).name
    defaults = domain.search_defaults(name, chosen)
    usual = dict(defaults.search)
    if any(search.get(name) is not None for name in ("epochs", "epoch_steps", "minutes")):
        usual.pop("least_steps", None)  # the user says how long it is
    strategy = search.get("strategy", "nasp")
    given = {**settings, **named_values("--set", pairs)}
    strategy_config(strategy, given)
    config = validated(
        SearchConfig,
        {
            **usual,
            **search,
            "settings": {**_inherited(strategy, defaults.settings), **given},
            "selection": _selection(defaults.selection, selection or {}),
        },
        "the search",
    )
    selecting(config)
    is_bounded = bool(config.at_most or config.target)
    sizes = {n: size[n] for n in Size.model_fields if n in size}
    own = {n: value for n, value in size.items() if n not in sizes}
    refuse_foreign(domain, "data", data, name)
    refuse_foreign(domain, "supernet", own, name)
    return validated(
        SearchJob,
        {
            "data": merged(_fed(defaults.data, data), {**data, "name": name}),
            "space": chosen,
            "supernet": merged({**_supernet(strategy, domain), **defaults.supernet}, own),
            "bound_at": _bound_at(bound_at, is_bounded, defaults.bound_at, domain),
            "search": config,
            **defaults.size,
            **sizes,
        },
        "the search",
    )


def train_job(
    target: RunFolder | Architecture,
    data: Options,
    size: Options,
    training: Options,
    beside: Sequence[str] = (),
) -> TrainJob:
    """Return the job that trains a run's result, or an architecture.

    Args:
        target: a finished search, whose data are the default, or an architecture.
        data: fields of the domain's `DataConfig` that were given.
        size: `channels` and `cells`, where given; of a search with bounds they are those at which
            these hold.
        training: fields of the domain's `TrainConfig` that were given.
        beside: ``random:N`` (N random architectures), ``random-K`` (number K), and the name of
            the domain's hand-made network.

    Raises:
        UsageError: there is no result yet, no data were named, or a value does not fit.
    """
    architecture, bounds = found_architecture(target), dict[str, Any]()
    if isinstance(target, RunFolder):
        job = job_of(target)
        seed = job.search.seed if isinstance(job, SearchJob) else job.train.seed
        bounded = job.bound_at if isinstance(job, SearchJob) else None
        if bounded is not None and isinstance(job, SearchJob):
            size = {**bounded.model_dump(), **size}
            if size == bounded.model_dump():
                fields = ("at_most", "target", "within")
                bounds = {name: getattr(job.search, name) for name in fields}
        own = job.data.in_run(target.path)
        own = own.moved(data["name"]) if "name" in data else own
        data = {**own.model_dump(include=set(own.handed_on)), **data}
        training = {"seed": seed, **training}
    if "name" not in data:
        raise UsageError("Say what to train on: --data NAME.")
    name = data["name"]
    space = fitting_space(architecture.space or "", name).name
    domain = domain_of(name)
    defaults = domain.train_defaults(name, space)
    refuse_foreign(domain, "data", data, name)
    refuse_foreign(domain, "train", training, name)
    return validated(
        TrainJob,
        {
            "data": merged(_fed(defaults.data, data), data),
            "space": space,
            "architecture": dict(architecture.edges),
            "train": merged(defaults.train, training),
            "beside": tuple(rival for text in beside for rival in _rivals(text, domain)),
            "bounds": bounds,
            **defaults.size,
            **size,
        },
        "the training",
    )


def merged(defaults: Options, given: Options) -> dict[str, Any]:
    """Return defaults with the given on top, also within settings that have settings."""
    both = {n: {**defaults[n], **given[n]} for n in given if isinstance(defaults.get(n), Mapping)}
    return {**defaults, **given, **both}


def _fed(defaults: Options, given: Options) -> dict[str, Any]:
    """Return the defaults of the data; a batch size that nobody asked for gives way to few data."""
    return {**defaults, "may_shrink": "batch_size" not in given}


def named_size(option: str, text: str | None) -> dict[str, int]:
    """Return what an option's ``channels=36,cells=20`` says, or one of the two.

    Raises:
        UsageError: it says something else.
    """
    size = {}
    for part in text.split(",") if text else []:
        name, _, value = part.strip().partition("=")
        if name not in Size.model_fields or not value.isdigit():
            raise UsageError(f"{option} takes channels=N,cells=N, not '{text}'.")
        size[name] = int(value)
    return size


def named_values(option: str, pairs: Sequence[str]) -> dict[str, Any]:
    """Return what each ``NAME=VALUE`` says; a value is JSON, or a plain word where it is none.

    Args:
        option: how the user gives them, for the error's message.
        pairs: the texts.

    Raises:
        UsageError: one has another form.
    """
    values: dict[str, Any] = {}
    for text in pairs:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise UsageError(f"{option} takes NAME=VALUE, not '{text}'.")
        try:
            values[name] = json.loads(value)
        except ValueError:
            values[name] = value
    return values


def _inherited(strategy: str, settings: Options) -> Options:
    """Return what a strategy takes of the data's settings, which are NASP's: a rival the step size.

    So that on small data no rival's alphas move less than NASP's.
    """
    if strategy == "nasp":
        return settings
    fields = find_strategy(strategy).config.model_fields
    return {name: settings[name] for name in ("lr",) if name in settings and name in fields}


def _selection(defaults: Options, given: Options) -> SelectConfig:
    together = {**defaults, **given}
    if isinstance(given.get("epochs"), int) and "first_rung" in defaults:
        # Whoever gives few epochs alone wants networks trained shortly, not a refusal.
        affordable = max(1, given["epochs"] // 2)
        together = {**together, "first_rung": min(defaults["first_rung"], affordable), **given}
    return validated(SelectConfig, together, "the selection")


def _supernet(strategy: str, domain: Domain) -> dict[str, Any]:
    """Return what a strategy asks of a supernet, where there is such a setting for the data."""
    asked = {"partial_channels": find_strategy(strategy).partial_channels}
    return {n: value for n, value in asked.items() if n in domain.supernet.model_fields}


def _bound_at(
    text: str | None, is_bounded: bool, default: Options | None, domain: Domain
) -> dict[str, Any] | None:
    if text is not None and default is None:
        raise UsageError(
            f"A bound on {domain.name} holds for the searched network itself: leave out --bound-at."
        )
    if text is not None and not is_bounded:
        raise UsageError(
            "--bound-at says where a bound holds: give one, --at-most NAME=AMOUNT or --target."
        )
    if default is None or not is_bounded:
        return None
    return {**default, **named_size("--bound-at", text)}


def _rivals(text: str, domain: Domain) -> list[str]:
    kind, _, count = text.partition(":")
    if kind == "random" and count.isdigit():
        return [f"random-{number}" for number in range(1, int(count) + 1)]
    if text in domain.by_hand or (text.startswith("random-") and text[7:].isdigit()):
        return [text]
    known = ", ".join(["random:N", "random-K", *domain.by_hand])
    raise UsageError(f"Unknown --beside '{text}': give one of {known}.")
