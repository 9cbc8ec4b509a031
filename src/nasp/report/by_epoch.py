"""What moved from epoch to epoch: curves, and the same as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nasp.report.charts import Lines
from nasp.report.tables import Table, table_of

Metrics = Sequence[Mapping[str, Any]]
"""The lines of a run's metrics."""

_SHARES = ("accuracy", "top5")
_PARTS = {"train": "training", "val": "validation", "test": "test"}
_SEARCHES = (
    ("Edges that changed", "edges", {"changed_edges": "in the epoch", "flips_per_step": "a step"}),
    (
        "Lead of the best candidate",
        "best minus second",
        {"margin_mean": "mean over edges", "margin_min": "closest edge"},
    ),
    ("Agreement of the search's halves", "correlation", {"agreement": "agreement"}),
    ("Sizes ranked by the search", "Kendall's tau", {"size_tau": "agreement"}),
)


def curves(lines: Metrics) -> list[Lines]:
    """Return what moved from epoch to epoch, a chart a figure.

    Args:
        lines: of a run's metrics.
    """
    if not lines:
        return []
    at = [float(line["epoch"]) for line in lines]
    figures: dict[str, dict[str, list[float | None]]] = {}
    for name, value in lines[-1].items():
        part, _, figure = name.partition("_")
        if part in _PARTS and isinstance(value, int | float):
            values = [line.get(name) for line in lines]
            figures.setdefault(figure, {})[_PARTS[part]] = values
    first = ("accuracy", "perplexity", "loss")
    order = [*(f for f in first if f in figures), *(f for f in figures if f not in first)]
    charts = [
        Lines(name.capitalize(), "epoch", name, at, figures[name], name in _SHARES)
        for name in order
    ]
    for title, y, names in _SEARCHES:
        series = {
            said: [line.get(name) for line in lines]
            for name, said in names.items()
            if any(line.get(name) is not None for line in lines)
        }
        if series:
            charts.append(Lines(title, "epoch", y, at, series))
    return charts


def figures_of(charts: Sequence[Lines]) -> Table:
    """Return curves as one table, a row an epoch."""
    columns = {"epoch": "{epoch:g}"}
    rows: list[dict[str, Any]] = [{"epoch": x} for x in charts[0].at] if charts else []
    for chart in charts:
        form = ".2%" if chart.are_shares else ".4g"
        for name, values in chart.series.items():
            heading = f"{chart.title}, {name}".removesuffix(", agreement")
            columns[heading] = f"{{{heading}:{form}}}"
            for row, value in zip(rows, values, strict=True):
                row[heading] = value
    return table_of(rows, columns)
