"""From what a user gave to the jobs of a language model: the defaults, and the given on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nasp.bilevel.search import SearchConfig
from nasp.domains.text.feed import TextConfig
from nasp.domains.text.train import LanguageTrainConfig
from nasp.errors import UsageError, validated
from nasp.jobs.defaults import text_search_defaults, text_train_defaults
from nasp.jobs.language_jobs import LanguageSearchJob, LanguageTrainJob
from nasp.spaces.language_model import Dropouts
from nasp.supernet.architecture import Architecture

Options = Mapping[str, Any]


def language_search_job(
    data: Options, space: str, size: Options, dropouts: Options, search: Options
) -> LanguageSearchJob:
    """Return the job of a search on text.

    Args:
        data: fields of `TextConfig` that were given.
        space: the search space's name.
        size: `channels` and `cells`, where given.
        dropouts: fields of `Dropouts` that were given.
        search: fields of `SearchConfig` that were given, the strategy's settings complete.

    Raises:
        UsageError: a name or a value does not fit.
    """
    defaults = text_search_defaults(data["name"])
    recipe = {"epochs": defaults["epochs"], **defaults["recipe"], **search}
    recipe["lr_min"] = recipe["lr"]  # constant, as in DARTS
    sizes = {name: defaults[name] for name in ("channels", "cells")} | dict(size)
    return validated(
        LanguageSearchJob,
        {
            "data": _text(data, defaults),
            "space": space,
            "dropouts": _dropouts(dropouts, defaults),
            "search": validated(SearchConfig, recipe, "the search"),
            **sizes,
        },
        "the search",
    )


def language_train_job(
    architecture: Architecture,
    data: Options,
    size: Options,
    dropouts: Options,
    training: Options,
    beside: Sequence[str] = (),
) -> LanguageTrainJob:
    """Return the job that trains a recurrent cell on text.

    Args:
        architecture: the cell.
        data: fields of `TextConfig` that were given.
        size: `channels` and `cells`, where given.
        dropouts: fields of `Dropouts` that were given.
        training: fields of `LanguageTrainConfig` that were given, without `dropouts`.
        beside: names of rivals: ``random-K``, ``lstm``.

    Raises:
        UsageError: a name or a value does not fit.
    """
    defaults = text_train_defaults(data["name"])
    recipe = {name: defaults[name] for name in ("epochs",) if name in defaults}
    settings = {**recipe, **training, "dropouts": _dropouts(dropouts, defaults)}
    sizes = {name: defaults[name] for name in ("channels", "cells")} | dict(size)
    return validated(
        LanguageTrainJob,
        {
            "data": _text(data, defaults),
            "space": architecture.space,
            "architecture": dict(architecture.edges),
            "train": validated(LanguageTrainConfig, settings, "the training"),
            "beside": tuple(beside),
            **sizes,
        },
        "the training",
    )


def refuse(given: Options, what_for: str, data: str) -> None:
    """Raise UsageError where an option was given that this kind of data has no use for."""
    for name, value in given.items():
        if value is not None:
            option = name.replace("_", "-")
            raise UsageError(f"--{option} is for {what_for}: leave it out with '{data}'.")


def text_options(data: Options, text: Options, images: Options) -> tuple[Options, Options]:
    """Return the fields of `TextConfig` and of `Dropouts` that were given; refuse all others.

    Args:
        data: what was given of the data, of images as of text.
        text: what was given that is of text alone.
        images: what was given elsewhere that is of images alone.
    """
    name = data["name"]
    shared = {n: data[n] for n in ("name", "root", "batch_size", "tokens", "bptt") if n in data}
    others = {n: value for n, value in data.items() if n not in shared and n != "workers"}
    refuse({**others, **images}, "images", name)
    return {**shared, **{n: v for n, v in text.items() if n != "dropouts"}}, text.get(
        "dropouts", {}
    )


def _text(data: Options, defaults: Options) -> TextConfig:
    inherited = {name: defaults[name] for name in ("batch_size", "varied") if name in defaults}
    return validated(TextConfig, {**inherited, **data}, "the text")


def _dropouts(given: Options, defaults: Options) -> Dropouts:
    return validated(Dropouts, {**defaults.get("dropouts", {}), **given}, "the dropouts")
