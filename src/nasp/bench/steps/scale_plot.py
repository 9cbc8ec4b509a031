"""Draws what `nasp.bench.steps.scale` measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from nasp.bench.plots import Band, draw_bands, save_plot

AXES = {"arch_seconds": "A step, s", "weight_seconds": "w step, s", "peak_bytes": "peak, MB"}
"""What is drawn, and how its axis is named."""


def scale_bands(report: Mapping[str, Any]) -> dict[tuple[str, str], list[Band]]:
    """Return series and figure -> a band a row of the bench."""
    points = report["points"]
    names = dict.fromkeys(point["name"] for point in points)
    panels: dict[tuple[str, str], list[Band]] = {}
    for series in dict.fromkeys(point["series"] for point in points):
        for figure in AXES:
            for name in names:
                line = [p for p in points if (p["series"], p["name"]) == (series, name)]
                if not line:
                    continue
                line.sort(key=lambda point: int(point["value"]))
                spreads = [_spread(point[figure]) for point in line]
                band = [[spread[part] for spread in spreads] for part in ("median", "min", "max")]
                x = [point["value"] for point in line]
                panels.setdefault((series, figure), []).append(Band(name, x, *band))
    return panels


def draw_scale(report: Mapping[str, Any], title: str, path: Path) -> None:
    """Draw a grid, a column a series and a row a figure, into a file.

    Args:
        report: of `nasp.bench.steps.scale`, with at least one point.
        title: what stood still.
        path: see `nasp.bench.plots.save_plot`.
    """
    panels = scale_bands(report)
    series = list(dict.fromkeys(series for series, _ in panels))
    figure = Figure(figsize=(3.2 * len(series) + 0.8, 2.4 * len(AXES) + 0.8))
    grid = figure.subplots(len(AXES), len(series), squeeze=False, sharex="col")
    for row, (name, axis) in enumerate(AXES.items()):
        for column, varied in enumerate(series):
            axes, bands = grid[row][column], panels[varied, name]
            draw_bands(axes, bands)
            axes.set_xticks(sorted({value for band in bands for value in band.x}))
            axes.set_ylim(bottom=0)
            if row == len(AXES) - 1:
                axes.set_xlabel(varied)
        grid[row][0].set_ylabel(axis)
    grid[0][0].legend(frameon=False)
    figure.suptitle(title, fontsize="medium")
    figure.tight_layout()
    save_plot(figure, path)


def _spread(figure: Any) -> dict[str, float]:
    if isinstance(figure, dict):
        return figure
    return dict.fromkeys(("median", "min", "max"), figure / 1e6)
