"""What a report says of a run in words: what it was, how it went, whether it is well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel

from nasp.bilevel.found import LARGEST, SEARCH, SELECTION
from nasp.bilevel.knowledge import SEEN
from nasp.bilevel.settings import SearchConfig
from nasp.jobs.search_job import SearchJob
from nasp.jobs.targets import is_from_python, job_of
from nasp.jobs.train_job import TrainJob
from nasp.runs.folder import RunFolder
from nasp.training.own import OwnTrainConfig


class Fact(NamedTuple):
    """A name and what it is."""

    name: str
    value: str


class Asked(NamedTuple):
    """What a run was asked to do.

    Attributes:
        kind: ``search`` or ``train``.
        job: of a command; None from Python.
        config: the settings of the search or training.
        epochs: that it is to have.
        go_on: the call that goes on with it.
        again: the call that makes it anew; empty where it is not known.
    """

    kind: str
    job: SearchJob | TrainJob | None
    config: Mapping[str, Any]
    epochs: int
    go_on: str
    again: str


def asked(run: RunFolder) -> Asked:
    """Return what a run was asked to do.

    Raises:
        UsageError: its settings do not fit this version.
    """
    content = run.config()
    if is_from_python(run):
        kind = str(content["kind"]).removeprefix("python-")
        config: Mapping[str, Any] = content[kind]
        defaults: BaseModel = SearchConfig() if kind == "search" else OwnTrainConfig()
        given = _given(config, defaults.model_dump(mode="json"))
        if run.go_on:
            given["run"] = str(run.path)
        words = ("network", "train_loader", "val_loader", *(f"{n}={v!r}" for n, v in given.items()))
        again = f"nasp.{kind}({', '.join(words)})"
        return Asked(kind, None, config, run.epochs(config["epochs"]), again, again)
    job = job_of(run)
    own = job.search if isinstance(job, SearchJob) else job.train
    return Asked(
        job.kind,
        job,
        own.model_dump(mode="json"),
        run.epochs(own.epochs),
        f"nasp resume {run.path}",
        content.get("command") or "",
    )


def settings_of(run: RunFolder) -> dict[str, dict[str, str]]:
    """Return section -> setting -> value, of all that a run was begun with."""
    content = run.config()
    job = content.get("job", content)
    sections: dict[str, dict[str, str]] = {"": {}}
    for name, value in job.items():
        if name in ("kind", "versions", "git", "command", "architecture", "within_minutes"):
            continue
        if isinstance(value, Mapping):
            sections[name] = _flat(value)
        else:
            sections[""][name] = _written(value)
    return {name: values for name, values in sections.items() if values}


DECIDERS = {
    SEARCH: "The search itself.",
    SELECTION: "The selection.",
    LARGEST: "The largest network that it may find, since the search does not know.",
}


def health(line: Mapping[str, Any], decided_by: str | None = None) -> list[Fact]:
    """Return what the last epoch says of the search, in words.

    Args:
        line: of its metrics.
        decided_by: what made the architecture the result, where that is known.
    """
    if "changed_edges" not in line:
        return []
    changed, edges = line["changed_edges"], line["edges"]
    facts = [
        Fact(
            "Settled",
            f"{changed} of {edges} edges changed in the last epoch, and"
            f" {line['flips_per_step']:.2g} in a step of it.",
        ),
        Fact(
            "Decided",
            "The best candidate of an edge leads the second by"
            f" {line['margin_mean']:.2g} in the mean, and by {line['margin_min']:.2g} where it is"
            " closest (0 is a tie).",
        ),
        Fact(
            "Working",
            f"After the last epoch {line['parameterless']:.0%} of the edges held operations"
            " without parameters, such as skips and poolings, though others were to be had.",
        ),
    ]
    if line.get("agreement") is not None:
        facts.insert(
            2,
            Fact(
                "Steady",
                "The two halves of the search rank architectures alike by"
                f" {line['agreement']:.2f} (1: wholly, 0: not at all).",
            ),
        )
    if line.get("size_tau") is not None:
        facts.insert(
            3,
            Fact(
                "Knowing",
                f"Its scores rank networks as their sizes do by {line['size_tau']:.2f}"
                f" (Kendall's tau; below {SEEN} its supernet has not come far enough to be"
                " believed).",
            ),
        )
    if decided_by is not None:
        facts.append(Fact("Decided by", DECIDERS.get(decided_by, decided_by)))
    return facts


class Warned(NamedTuple):
    """A warning, and the epochs that had it."""

    text: str
    epochs: str
    is_last: bool


def warnings_of(lines: Sequence[Mapping[str, Any]]) -> list[Warned]:
    """Return the warnings of all epochs; those of one kind once, as they were said last."""
    kinds: dict[str, tuple[str, list[int]]] = {}
    for line in lines:
        for text in line.get("warnings", []):
            kind = text.partition(":")[0]
            kinds[kind] = text, [*kinds.get(kind, ("", []))[1], line["epoch"]]
    last = lines[-1]["epoch"] if lines else 0
    return [Warned(text, _ranges(epochs), last in epochs) for text, epochs in kinds.values()]


def _ranges(epochs: list[int]) -> str:
    parts: list[list[int]] = []
    for epoch in epochs:
        if parts and epoch == parts[-1][-1] + 1:
            parts[-1].append(epoch)
        else:
            parts.append([epoch])
    said = ", ".join(str(p[0]) if len(p) == 1 else f"{p[0]}–{p[-1]}" for p in parts)
    return f"epoch{'s' * (len(epochs) > 1)} {said}"


def _given(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if value != defaults.get(name)}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = _written(value)
    return flat


def _written(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "–"
    return f"{value:g}" if isinstance(value, float) else str(value)
