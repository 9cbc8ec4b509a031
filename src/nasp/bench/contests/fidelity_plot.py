"""Draws what `nasp.bench.contests.fidelity` found: cells by shared weights and by the table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nasp.bench.steps.scale_plot import check_plot
from nasp.runs.files import write_atomic


class Points(NamedTuple):
    """One search's cells.

    Attributes:
        row: the contender's label.
        seed: of the search.
        shared: accuracies with the shared weights, per cent.
        table: accuracies in the table, per cent.
    """

    row: str
    seed: int
    shared: list[float]
    table: list[float]


def fidelity_points(report: Mapping[str, Any]) -> list[Points]:
    """Return the points of every search, row after row; cells whose loss was not finite are out."""
    found = []
    for row in report["rows"]:
        for seed, shared in zip(row["seeds"], row["shared"], strict=True):
            pairs = [
                (100 * accuracy, true)
                for accuracy, true in zip(shared, report["truth"], strict=True)
                if accuracy is not None
            ]
            found.append(Points(row["name"], seed, [x for x, _ in pairs], [y for _, y in pairs]))
    return found


def draw_fidelity(report: Mapping[str, Any], path: Path) -> None:
    """Draw a panel for each row, a colour for each seed.

    Raises:
        UsageError: the file's ending is none of `nasp.bench.steps.scale_plot.FORMATS`.
        NaspError: matplotlib is missing, or the file cannot be written.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    rows = report["rows"]
    points = fidelity_points(report)
    figure = Figure(figsize=(3.6 * len(rows) + 0.6, 3.8))
    panels = figure.subplots(1, len(rows), squeeze=False, sharey=True)[0]
    for axes, row in zip(panels, rows, strict=True):
        for seen in (p for p in points if p.row == row["name"]):
            axes.scatter(seen.shared, seen.table, s=9, alpha=0.5, label=f"seed {seen.seed}")
        axes.set_title(f"{row['name']}, τ = {row['kendall']['mean']:.2f}", fontsize="medium")
        axes.set_xlabel("with shared weights, %")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("in the table, %")
    panels[0].legend(frameon=False, fontsize="small")
    figure.tight_layout()
    write_atomic(path, lambda stream: figure.savefig(stream, format=path.suffix[1:], dpi=150))
