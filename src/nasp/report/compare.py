"""Several runs side by side: results, curves, and the settings that differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from nasp.report.charts import Lines
from nasp.report.contents import Contents
from nasp.report.tables import Table


class Beside(NamedTuple):
    """Runs side by side.

    Attributes:
        runs: the runs.
        results: a row a fact, a column a run.
        curves: of each figure on data that was not learnt from, a line a run.
        differing: settings that are not the same in all.
    """

    runs: list[Contents]
    results: Table
    curves: list[Lines]
    differing: Table


def side_by_side(runs: Sequence[Contents]) -> Beside:
    """Return what is to be compared of runs that have different names."""
    names = [run.name for run in runs]
    facts = [dict(run.facts) for run in runs]
    results = {
        "finished": ["yes" if run.is_finished else "no" for run in runs],
        **{name: [own.get(name, "") for own in facts] for own in facts for name in own},
        "warnings": [str(sum(warning.is_last for warning in run.warnings)) for run in runs],
    }
    settings = [
        {
            f"{section} {name}".strip(): value
            for section in each
            for name, value in each[section].items()
        }
        for each in (run.settings for run in runs)
    ]
    all_names = dict.fromkeys(name for own in settings for name in own)
    differing = {
        name: values
        for name in all_names
        if len(set(values := [own.get(name, "–") for own in settings])) > 1
    }
    return Beside(
        list(runs),
        _table(results, ["result", *names]),
        _curves(runs),
        _table(differing, ["setting", *names]),
    )


def _table(rows: dict[str, list[str]], headings: list[str]) -> Table:
    return Table(headings, [[name, *values] for name, values in rows.items()])


def _curves(runs: Sequence[Contents]) -> list[Lines]:
    """Return a chart for each figure that at least two runs have."""
    kinds: dict[tuple[str, str], dict[str, tuple[Lines, list[float | None]]]] = {}
    for run in runs:
        for chart in run.curves:
            for part, values in chart.series.items():
                if part in ("validation", "test"):
                    kinds.setdefault((part, chart.y), {})[run.name] = chart, values
    charts = []
    for (part, figure), own in kinds.items():
        if len(own) < 2:
            continue
        epochs = max(len(values) for _, values in own.values())
        series = {n: [*v, *[None] * (epochs - len(v))] for n, (_, v) in own.items()}
        shares = next(iter(own.values()))[0].are_shares
        at = [float(epoch) for epoch in range(1, epochs + 1)]
        charts.append(Lines(f"{part} {figure}".capitalize(), "epoch", figure, at, series, shares))
    return charts
