"""Plots: refused before anything is measured, lines with bands, files that appear whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nasp.errors import UsageError
from nasp.runs.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FORMATS = (".pdf", ".png", ".svg")


class Band(NamedTuple):
    """A line, and how far the figures behind it reach."""

    label: str
    x: list[float]
    middle: list[float]
    low: list[float]
    high: list[float]


def check_plot(path: Path | None) -> None:
    """Raise before anything is measured where no plot could be written; None is no plot.

    Raises:
        UsageError: the file's ending is none of `FORMATS`.
    """
    if path is not None and path.suffix not in FORMATS:
        raise UsageError(f"A plot cannot be written to {path}: end it in {', '.join(FORMATS)}.")


def draw_bands(axes: Axes, bands: Sequence[Band]) -> list[Any]:
    """Draw bands into one panel, and return their colours."""
    axes.spines[["top", "right"]].set_visible(False)
    colours = []
    for band in bands:
        (line,) = axes.plot(band.x, band.middle, marker=".", label=band.label)
        axes.fill_between(band.x, band.low, band.high, alpha=0.15, color=line.get_color())
        colours.append(line.get_color())
    return colours


def save_plot(figure: Figure, path: Path) -> None:
    """Write a figure in the format that the file's ending names.

    Raises:
        UsageError: the ending is none of `FORMATS`.
        NaspError: the file cannot be written.
    """
    check_plot(path)
    write_atomic(path, lambda stream: figure.savefig(stream, format=path.suffix[1:], dpi=150))
