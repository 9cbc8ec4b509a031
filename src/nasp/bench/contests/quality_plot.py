"""Draws what `nasp.bench.contests.quality` found: accuracy in the table against seconds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nasp.bench.steps.scale_plot import check_plot
from nasp.runs.clock import Clock
from nasp.runs.files import write_atomic

CLOCKS = {"wall": "seconds", "cpu": "cpu_seconds"}
"""Clock -> the entry of a row."""


class Curve(NamedTuple):
    """One contender: what was derived epoch by epoch, and the result.

    Attributes:
        name: its label.
        seconds: at the end of each epoch, mean over seeds.
        means: accuracy of what was derived there, per cent.
        lows: the mean less a standard deviation over seeds.
        highs: the mean and a standard deviation.
        end: seconds and mean accuracy of the result, selection included.
    """

    name: str
    seconds: list[float]
    means: list[float]
    lows: list[float]
    highs: list[float]
    end: tuple[float, float]


def quality_curves(
    report: Mapping[str, Any], clock: Clock, names: Collection[str] | None = None
) -> list[Curve]:
    """Return a curve a row, in the order of the rows: of these names, default of all."""
    entry = CLOCKS[clock]
    found = []
    for row in report["rows"]:
        if names is not None and row["name"] not in names:
            continue
        points = [(p[entry], p["table_accuracy"]) for p in row["per_epoch"]]
        found.append(
            Curve(
                row["name"],
                [seconds for seconds, _ in points],
                [spread["mean"] for _, spread in points],
                [spread["mean"] - spread["std"] for _, spread in points],
                [spread["mean"] + spread["std"] for _, spread in points],
                (row[entry], row["table_accuracy"]["mean"]),
            )
        )
    return found


def draw_quality(
    report: Mapping[str, Any], clock: Clock, path: Path, names: Collection[str] | None = None
) -> None:
    """Draw each contender's curve, its band over seeds, and a star where its result lies.

    Args:
        report: what a bench found.
        clock: whose seconds.
        path: the file.
        names: whose curves; default all.

    Raises:
        UsageError: the file's ending is none of `nasp.bench.steps.scale_plot.FORMATS`.
        NaspError: matplotlib is missing, or the file cannot be written.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    curves = quality_curves(report, clock, names)
    table, settings = report["table"], report["settings"]
    figure = Figure(figsize=(8.0, 5.0))
    axes = figure.subplots()
    for curve in curves:
        (line,) = axes.plot(curve.seconds, curve.means, marker=".", label=curve.name)
        axes.fill_between(
            curve.seconds, curve.lows, curve.highs, alpha=0.12, color=line.get_color()
        )
        axes.plot(*curve.end, marker="*", markersize=12, color=line.get_color())
    axes.axhline(table["best"], color="grey", linewidth=0.8, linestyle="--")
    axes.axhline(table["median"], color="grey", linewidth=0.8, linestyle=":")
    # A cell that passes nothing on has 10 %: it would press all others into a line.
    lowest = min((low for curve in curves for low in (*curve.lows, curve.end[1])), default=0.0)
    axes.set_ylim(bottom=max(lowest - 1, 2 * table["median"] - 100), top=table["best"] + 0.5)
    axes.set_xlabel(f"seconds ({'wall clock' if clock == 'wall' else 'of processor'})")
    axes.set_ylabel("accuracy in the table, %")
    axes.set_title(
        f"{settings['space']}, table {Path(table['name']).name}; star: result; lines: best, median",
        fontsize="medium",
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
    figure.tight_layout()
    write_atomic(path, lambda stream: figure.savefig(stream, format=path.suffix[1:], dpi=150))
