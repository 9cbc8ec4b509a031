"""From what a user gave to jobs: the defaults, and the given on top."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasp.bilevel.search import SearchConfig, selecting
from nasp.bilevel.selection import SelectConfig
from nasp.domains.images.feed import DataConfig
from nasp.domains.images.train import TrainConfig
from nasp.domains.text.corpora import is_text
from nasp.errors import UsageError, validated
from nasp.jobs.defaults import (
    default_space,
    search_defaults,
    text_search_defaults,
    train_defaults,
)
from nasp.jobs.jobs import AnySearchJob, AnyTrainJob, SearchJob, TrainJob, job_of
from nasp.jobs.language_plans import language_search_job, language_train_job, refuse, text_options
from nasp.runs.folder import RunFolder
from nasp.spaces import DataKind, NotationError, Space, find_space, space_names, spaces_of
from nasp.strategies import find_strategy, strategy_config
from nasp.supernet.architecture import Architecture

Options = Mapping[str, Any]

BY_HAND: dict[DataKind, str] = {"images": "resnet", "text": "lstm"}
"""The hand-made network that a found one can be trained beside."""


def search_job(
    data: Options,
    space: str | None,
    size: Options,
    search: Options,
    settings: Options,
    pairs: Sequence[str] = (),
    selection: Options | None = None,
    bound_at: str | None = None,
    text: Options | None = None,
) -> AnySearchJob:
    """Return the job of a search.

    Args:
        data: fields of `DataConfig` that were given.
        space: the search space's name, or None for the data's default.
        size: `channels`, `cells` and `partial_channels`, where given.
        search: fields of `SearchConfig` that were given, without `settings`.
        settings: the strategy's settings that were given.
        pairs: more of them, each ``NAME=VALUE``.
        selection: fields of `SelectConfig` that were given.
        bound_at: the size at which bounds hold, ``channels=36,cells=20``; what is left out is
            that of a training.
        text: for a text, what was given of `tokens`, `bptt`, `varied` and `dropouts`.

    Raises:
        UsageError: a name or a value does not fit.
    """
    of_text, name = text or {}, data["name"]
    chosen_space = _fitting(find_space(space or default_space(name)), name)
    defaults = text_search_defaults(name) if is_text(name) else search_defaults(name, chosen_space)
    strategy = search.get("strategy", "nasp")
    given = {**settings, **named_values("--set", pairs)}
    strategy_config(strategy, given)
    merged = {**_inherited(strategy, defaults["settings"]), **given}
    chosen = _selection(defaults["selection"], selection or {})
    loop = {**search, "settings": merged, "selection": chosen}
    if is_text(name):
        partial = size.get("partial_channels")
        fed, dropouts = text_options(
            data, of_text, {"partial_channels": partial, "bound_at": bound_at}
        )
        job = language_search_job(fed, chosen_space, size, dropouts, loop)
        selecting(job.search)
        return job
    refuse(of_text, "text", name)
    batch = {"batch_size": defaults["batch_size"], **data}
    loop = {"epochs": defaults["epochs"], **loop}
    sizes = {
        "channels": defaults["channels"],
        "cells": defaults["cells"],
        "partial_channels": find_strategy(strategy).partial_channels,
        **size,
    }
    configured = validated(SearchConfig, loop, "the search")
    selecting(configured)
    if configured.at_most:
        trained = train_defaults(name, chosen_space)
        usual = {name: trained[name] for name in ("channels", "cells")}
        sizes["bound_at"] = {**usual, **named_size("--bound-at", bound_at)}
    elif bound_at is not None:
        raise UsageError("--bound-at says where a bound holds: give one, --at-most NAME=AMOUNT.")
    return validated(
        SearchJob,
        {
            "data": validated(DataConfig, batch, "the data"),
            "space": chosen_space,
            "search": configured,
            **sizes,
        },
        "the search",
    )


def _fitting(space: Space, data: str) -> str:
    """Return the space's name, where its networks read such data."""
    kind: DataKind = "text" if is_text(data) else "images"
    if space.data != kind:
        raise UsageError(
            f"Space '{space.name}' is for {space.data}, and '{data}' is {kind}: choose one of"
            f" {', '.join(spaces_of(kind))}, or other --data."
        )
    return space.name


def _inherited(strategy: str, settings: Options) -> dict[str, Any]:
    """Return what a strategy takes of the data's settings, which are NASP's: a rival the step size.

    So that on small data no rival's alphas move less than NASP's.
    """
    if strategy == "nasp":
        return dict(settings)
    fields = find_strategy(strategy).config.model_fields
    return {name: settings[name] for name in ("lr",) if name in settings and name in fields}


def train_job_for(
    target: RunFolder | Architecture,
    data: Options,
    size: Options,
    training: Options,
    beside: Sequence[str] = (),
    text: Options | None = None,
) -> AnyTrainJob:
    """Return the job that trains a run's result, or an architecture.

    Args:
        target: a finished search, whose data are the default, or an architecture.
        data: fields of `DataConfig` that were given.
        size: `channels` and `cells`, where given.
        training: fields of `TrainConfig`, or for a text `LanguageTrainConfig`, that were given.
        beside: ``random:N`` (N random architectures), ``random-K`` (number K), ``resnet`` or, for
            a text, ``lstm``.
        text: for a text, what was given of `tokens`, `bptt`, `varied` and `dropouts`.

    Raises:
        UsageError: there is no result yet, no data were named, or a value does not fit.
    """
    if isinstance(target, RunFolder):
        architecture = _result_of(target)
        job = job_of(target)
        kept = (
            {"name", "root", "image_size", "workers"}
            if isinstance(job.data, DataConfig)
            else ({"name", "root", "tokens", "bptt"})
        )
        seed = job.search.seed if isinstance(job, AnySearchJob) else job.train.seed
        data = {**job.data.model_dump(include=kept), **data}
        training = {"seed": seed, **training}
    else:
        architecture = target
    if "name" not in data:
        raise UsageError("Say what to train on: --data NAME.")
    space = _fitting(find_space(architecture.space or ""), data["name"])
    rivals = tuple(name for named in beside for name in _rivals(named, find_space(space)))
    if is_text(data["name"]):
        only_images = ("auxiliary", "drop_path", "label_smoothing")
        fed, dropouts = text_options(data, text or {}, {n: training.get(n) for n in only_images})
        return language_train_job(architecture, fed, size, dropouts, training, rivals)
    only_text = {name: training.get(name) for name in ("activation", "slowness", "patience")}
    refuse({**(text or {}), **only_text}, "text", data["name"])
    defaults = train_defaults(data["name"], space)
    fields = {name: defaults[name] for name in defaults if name in TrainConfig.model_fields} | dict(
        training
    )
    fed = {name: defaults[name] for name in ("batch_size", "cutout")} | dict(data)
    sizes = {name: defaults[name] for name in ("channels", "cells")} | dict(size)
    return validated(
        TrainJob,
        {
            "data": validated(DataConfig, fed, "the data"),
            "space": space,
            "architecture": dict(architecture.edges),
            "train": validated(TrainConfig, fields, "the training"),
            "beside": rivals,
            **sizes,
        },
        "the training",
    )


def target_of(text: str) -> RunFolder | Architecture:
    """Return what RUN|ARCH names: a run folder, a JSON file, or a space's own notation.

    Raises:
        UsageError: it is none of them.
    """
    path = Path(text)
    # Not path.is_dir(): a genotype is too long for a file's name, at which that raises.
    if os.path.isdir(path):
        return RunFolder.open(path)
    if os.path.isfile(path):
        return Architecture.load(path)
    if "(" in text or "|" in text:
        reasons: list[UsageError] = []
        for name in space_names():
            try:
                return find_space(name).parse(text)
            except UsageError as error:
                reasons.append(error)
        # The space that it is meant for says best what is wrong.
        reason = min(reasons, key=lambda error: isinstance(error, NotationError))
        raise UsageError(f"'{text}' is no architecture of any space: {reason}")
    raise UsageError(f"There is no run folder, file or architecture '{text}'.")


def _result_of(run: RunFolder) -> Architecture:
    if run.architecture_path.is_file():
        return Architecture.load(run.architecture_path)
    job = job_of(run)
    if isinstance(job, AnyTrainJob) and job.architecture is not None:
        return Architecture(job.architecture, job.space)
    raise UsageError(
        f"The search in {run.path} is not finished: go on with 'nasp resume {run.path}'."
    )


def named_size(option: str, text: str | None) -> dict[str, int]:
    """Return what an option's ``channels=36,cells=20`` says, or one of the two.

    Raises:
        UsageError: it says something else.
    """
    size = {}
    for part in text.split(",") if text else []:
        name, _, value = part.strip().partition("=")
        if name not in ("channels", "cells") or not value.isdigit():
            raise UsageError(f"{option} takes channels=N,cells=N, not '{text}'.")
        size[name] = int(value)
    return size


def _rivals(text: str, space: Space) -> list[str]:
    kind, _, count = text.partition(":")
    if kind == "random" and count.isdigit():
        return [f"random-{number}" for number in range(1, int(count) + 1)]
    by_hand = BY_HAND[space.data]
    if text == by_hand or (text.startswith("random-") and text[7:].isdigit()):
        return [text]
    raise UsageError(f"Unknown --beside '{text}': give random:N, random-K or {by_hand}.")


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


def _selection(defaults: Options, given: Options) -> SelectConfig:
    merged = {**defaults, **given}
    if isinstance(given.get("epochs"), int) and "first_rung" in defaults:
        # Whoever gives few epochs alone wants networks trained shortly, not a refusal.
        affordable = max(1, given["epochs"] // 2)
        merged = {**merged, "first_rung": min(defaults["first_rung"], affordable), **given}
    return validated(SelectConfig, merged, "the selection")


def architecture_of(target: RunFolder | Architecture) -> Architecture:
    """Return the architecture of a finished run, or the architecture itself.

    Raises:
        UsageError: the run is not finished.
        NaspError: its file is damaged.
    """
    return target if isinstance(target, Architecture) else _result_of(target)
