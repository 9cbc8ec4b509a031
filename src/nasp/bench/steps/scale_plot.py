"""Draws what `nasp.bench.steps.scale` measured."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nasp.bench.steps.scale import MEASURES, Curve
from nasp.errors import NaspError, UsageError
from nasp.runs.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMATS = (".pdf", ".png", ".svg")


def check_plot(path: Path) -> None:
    """Raise before anything is measured where no plot could be written.

    Raises:
        UsageError: the file's ending is none of `FORMATS`.
        NaspError: matplotlib is missing.
    """
    if path.suffix not in FORMATS:
        raise UsageError(f"A plot cannot be written to {path}: end it in {', '.join(FORMATS)}.")
    if importlib.util.find_spec("matplotlib") is None:
        raise NaspError("A plot needs matplotlib: pip install matplotlib, or leave out --plot.")


def draw(lines: Sequence[Curve], title: str, path: Path) -> None:
    """Draw a grid, a column a series and a row a measure, into a file.

    Args:
        lines: of `nasp.bench.steps.scale.curves`, at least one.
        title: what stood still.
        path: ends in one of `FORMATS`.

    Raises:
        UsageError: the file's ending is none of `FORMATS`.
        NaspError: matplotlib is missing, or the file cannot be written.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    series = list(dict.fromkeys(line.series for line in lines))
    measures = list(dict.fromkeys(line.measure for line in lines))
    figure = Figure(figsize=(3.2 * len(series) + 0.8, 2.4 * len(measures) + 0.8))
    grid = figure.subplots(len(measures), len(series), squeeze=False, sharex="col")
    for row, measure in enumerate(measures):
        for column, name in enumerate(series):
            here = [line for line in lines if (line.series, line.measure) == (name, measure)]
            _draw_one(grid[row][column], here)
            if row == len(measures) - 1:
                grid[row][column].set_xlabel(name)
        grid[row][0].set_ylabel(MEASURES[measure])
    grid[0][0].legend(frameon=False)
    figure.suptitle(title, fontsize="medium")
    figure.tight_layout()
    write_atomic(path, lambda stream: figure.savefig(stream, format=path.suffix[1:], dpi=150))


def _draw_one(axes: Axes, lines: Sequence[Curve]) -> None:
    for line in lines:
        axes.plot(line.values, line.medians, marker="o", label=line.row)
        axes.fill_between(line.values, line.lows, line.highs, alpha=0.2)
    axes.set_xticks(sorted({value for line in lines for value in line.values}))
    axes.set_ylim(bottom=0)
    axes.spines[["top", "right"]].set_visible(False)
