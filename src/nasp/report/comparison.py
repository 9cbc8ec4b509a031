"""Several runs side by side: the settings that differ, how they went, what they reached."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from nasp.complexity import parameter_count
from nasp.errors import UsageError
from nasp.jobs.rebuild import run_size
from nasp.jobs.search_job import SearchJob
from nasp.jobs.targets import is_from_python, job_of
from nasp.report.tables import Table, table_of
from nasp.runs.folder import RunFolder, json_object
from nasp.spaces import find_space
from nasp.supernet.architecture import Architecture

LEVELS = "▁▂▃▄▅▆▇█"
FIGURES = ("accuracy", "perplexity", "loss")
"""What curves are of, by the ends of their names; of all but the first the lowest is best."""


class Compared(NamedTuple):
    """A run beside others.

    Attributes:
        name: that tells it from the others.
        path: of its folder.
        kind: ``search`` or ``train``.
        epochs: that are done.
        finished: whether it is.
        seconds: that its epochs took.
        parameters: of its network, found or trained; None where that is not known.
        settings: by their dotted names, and the versions that they were used with.
        curves: metric -> by epoch, None where it was not measured.
        edges: of the architecture that it found or trained -> candidate.
        test: figures that its network, or that of its folder ``train``, was left with at the end.
    """

    name: str
    path: str
    kind: str
    epochs: int
    finished: bool
    seconds: float
    parameters: int | None
    settings: dict[str, Any]
    curves: dict[str, list[float | None]]
    edges: dict[str, str | None]
    test: dict[str, float]


def compared(runs: Sequence[RunFolder]) -> list[Compared]:
    """Read runs, searches and trainings, finished or not.

    Raises:
        UsageError: one is another kind of folder, or is there twice.
    """
    if len(runs) < 2 or len({run.path.resolve() for run in runs}) < len(runs):
        raise UsageError("Give at least two runs to compare, each once.")
    names = names_of([run.path for run in runs])
    return [_compared(run, name) for run, name in zip(runs, names, strict=True)]


def names_of(paths: Sequence[Path]) -> list[str]:
    """Return what tells folders apart: their own names, or if these are alike, their paths."""
    short = [path.resolve().name for path in paths]
    return short if len(set(short)) == len(short) else [str(path) for path in paths]


def side_by_side(
    title: str, what: str, rows: Mapping[str, Sequence[Any]], runs: Sequence[Compared]
) -> Table:
    """Return values by name as a table, a column a run."""
    cells = [[name, *map(_written, values)] for name, values in rows.items()]
    return Table([what, *(each.name for each in runs)], cells, title)


def results(runs: Sequence[Compared]) -> Table:
    """Return what runs reached, a row a run."""
    rows = [
        {**each._asdict(), "state": "" if each.finished else " (not finished)"} for each in runs
    ]
    columns = {
        "run": "{name}",
        "is a": "{kind}{state}",
        "epochs": "{epochs}",
        "seconds": "{seconds:.1f}",
        "parameters": "{parameters:,}",
    }
    forms = {"accuracy": ".2%", "perplexity": ".2f", "loss": ".4f"}
    columns |= {
        f"test {name}, trained": f"{{test[{name}]:{form}}}"
        for name, form in forms.items()
        if any(name in each.test for each in runs)
    }
    return table_of(rows, columns, "Results", words=2)


def _written(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _compared(run: RunFolder, name: str) -> Compared:
    content, lines = run.config(), run.metrics()
    kind = str(content.get("kind")).removeprefix("python-")
    if kind not in ("search", "train"):
        raise UsageError(f"{run.path} is no search or training: 'nasp show' prints what it is.")
    settings = dict(content[kind] if is_from_python(run) else content["job"])
    edges = dict(settings.get("architecture") or {})
    if run.architecture_path.is_file():
        edges = dict(Architecture.load(run.architecture_path).edges)
    # Of a search and a training the same settings have the same names.
    own = settings | settings.pop(kind, {}) | {"versions": content.get("versions", {})}
    curves = {n for line in lines for n, v in line.items() if _is_figure(n, v)}
    return Compared(
        name,
        str(run.path),
        kind,
        len(lines),
        (run.path / "weights.safetensors").is_file(),
        round(sum(line["seconds"] for line in run.timing()), 1),
        _parameters(run, edges),
        flat({n: value for n, value in own.items() if n != "architecture"}),
        {name: [line.get(name) for line in lines] for name in sorted(curves)},
        edges,
        _test(run if kind == "train" else RunFolder(run.path / "train")),
    )


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return settings within settings by their dotted names."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        is_inner = isinstance(value, Mapping) and value
        found |= flat(value, f"{prefix}{name}.") if is_inner else {f"{prefix}{name}": value}
    return found


def differing_settings(runs: Sequence[Compared]) -> dict[str, list[Any]]:
    """Return the settings that are not the same in all runs.

    Of searches alone, or of trainings alone, also those that only some were given, such as a
    bound; the others have None.
    """
    values: list[dict[str, Any]] = [each.settings for each in runs]
    if len({each.kind for each in runs}) == 1:
        every = dict.fromkeys(n for each in values for n, value in each.items() if value != {})
        values = [{name: each.get(name) for name in every} for each in values]
    return differing(values)


def differing(values: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return what of each name that all have, where that is not all the same."""
    names = [name for name in values[0] if all(name in each for each in values)]
    rows = {name: [each[name] for each in values] for name in names}
    return {name: row for name, row in rows.items() if any(value != row[0] for value in row)}


def best(metric: str, values: Sequence[float | None]) -> tuple[float, int] | None:
    """Return the best finite value and its epoch, from 1."""
    known = [(v, -epoch) for epoch, v in enumerate(values, 1) if v is not None and math.isfinite(v)]
    if not known:
        return None
    is_higher_better = metric.endswith(FIGURES[0])
    value, epoch = max(known) if is_higher_better else min(known, key=lambda at: (at[0], -at[1]))
    return value, -epoch


def sparkline(
    values: Sequence[float | None], low: float, high: float, epochs: int, width: int = 32
) -> str:
    """Return a curve in one line, the same scale for all that are compared.

    Args:
        values: by epoch; what is missing or not finite is a gap.
        low: value of the lowest level.
        high: of the highest.
        epochs: of the longest curve beside it.
        width: characters that so many epochs take at most; each shows the last of its epochs.
    """
    taken = min(width, epochs)
    ends = [round((place + 1) * epochs / taken) for place in range(taken)]
    text = ""
    for value in (values[end - 1] for end in ends if end <= len(values)):
        if value is None or not math.isfinite(value):
            text += " "
            continue
        share = (value - low) / (high - low) if high > low else 1.0
        text += LEVELS[round(min(max(share, 0.0), 1.0) * (len(LEVELS) - 1))]
    return text


def _is_figure(name: str, value: Any) -> bool:
    return name.endswith(tuple(f"_{each}" for each in FIGURES)) and isinstance(value, float)


def _parameters(run: RunFolder, edges: Mapping[str, str | None]) -> int | None:
    if is_from_python(run) or not edges:
        return None
    job = job_of(run)
    size = run_size(run, {}, observe=None)
    if not size.keys() >= set(job.domain.shape):
        return None
    whole = job.domain.sized(size)
    if isinstance(job, SearchJob):
        space = find_space(job.space)
        return parameter_count(space.network(Architecture(edges, space.name), whole))
    return parameter_count(job.network(whole))


def _test(training: RunFolder) -> dict[str, float]:
    """Return the test figures of a training: those of its end, else of its last epoch."""
    path = training.path / "test.json"
    if path.is_file():
        return {n: v for n, v in json_object(path).items() if n in FIGURES}
    last = (training.metrics() or [{}])[-1]
    return {n: last[f"test_{n}"] for n in FIGURES if f"test_{n}" in last}
