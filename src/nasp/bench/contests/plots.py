"""Draws what contests found: first what is computed, then the pictures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, ScalarFormatter

from nasp.bench.contests.quality_rows import SECONDS
from nasp.bench.plots import Band, draw_bands, save_plot
from nasp.complexity.quantity import find_quantity
from nasp.runs.clock import Clock


def quality_bands(
    report: Mapping[str, Any], clock: Clock, names: Collection[str] | None = None
) -> list[tuple[Band, tuple[float, float]]]:
    """Return what was derived, epoch by epoch, and seconds and accuracy of the result, by row.

    Args:
        report: of `nasp.bench.contests.quality`.
        clock: whose seconds.
        names: of the rows; default all.
    """
    entry = SECONDS[clock]
    found = []
    for row in report["rows"]:
        if names is None or row["name"] in names:
            accuracies = [epoch["table_accuracy"] for epoch in row["per_epoch"]]
            band = Band(
                row["name"],
                [epoch[entry] for epoch in row["per_epoch"]],
                [over["mean"] for over in accuracies],
                [over["mean"] - over["std"] for over in accuracies],
                [over["mean"] + over["std"] for over in accuracies],
            )
            found.append((band, (row[entry], row["table_accuracy"]["mean"])))
    return found


def draw_quality(
    report: Mapping[str, Any], clock: Clock, path: Path, names: Collection[str] | None = None
) -> None:
    """Draw each contestant's curve, its band over seeds, and a star where its result lies.

    Args:
        report: of `nasp.bench.contests.quality`.
        clock: whose seconds.
        path: see `nasp.bench.plots.save_plot`.
        names: whose curves; default all.
    """
    found = quality_bands(report, clock, names)
    bands, results = [band for band, _ in found], [result for _, result in found]
    table, settings = report["table"], report["settings"]
    figure = Figure(figsize=(8.0, 5.0))
    axes = figure.subplots()
    for result, colour in zip(results, draw_bands(axes, bands), strict=True):
        axes.plot(*result, marker="*", markersize=12, color=colour)
    axes.axhline(table["best"], color="grey", linewidth=0.8, linestyle="--")
    axes.axhline(table["median"], color="grey", linewidth=0.8, linestyle=":")
    # A cell that passes nothing on has 10 %: it would press all others into a line.
    lows = [low for band in bands for low in band.low] + [accuracy for _, accuracy in results]
    bottom = max(min(lows, default=0.0) - 1, 2 * table["median"] - 100)
    axes.set_ylim(bottom=bottom, top=table["best"] + 0.5)
    axes.set_xlabel(f"seconds ({'wall clock' if clock == 'wall' else 'of processor'})")
    axes.set_ylabel("accuracy in the table, %")
    axes.set_title(
        f"{settings['space']}, table {Path(table['name']).name}; star: result; lines: best, median",
        fontsize="medium",
    )
    axes.legend(frameon=False, loc="lower right")
    figure.tight_layout()
    save_plot(figure, path)


class Cells(NamedTuple):
    """Accuracies of the cells that one search's supernet ranked, per cent.

    Attributes:
        row: the contestant's label.
        seed: of the search.
        shared: with the shared weights.
        table: in the table.
    """

    row: str
    seed: int
    shared: list[float]
    table: list[float]


def fidelity_cells(report: Mapping[str, Any]) -> list[Cells]:
    """Return the cells of every search, row after row; those whose loss was not finite are out."""
    found = []
    for row in report["rows"]:
        for seed, shared in zip(row["seeds"], row["shared"], strict=True):
            both = zip(shared, report["table_accuracy"], strict=True)
            pairs = [(100 * x, y) for x, y in both if x is not None]
            found.append(Cells(row["name"], seed, [x for x, _ in pairs], [y for _, y in pairs]))
    return found


def draw_fidelity(report: Mapping[str, Any], path: Path) -> None:
    """Draw a panel for each row, a colour for each seed.

    Args:
        report: of `nasp.bench.contests.fidelity`.
        path: see `nasp.bench.plots.save_plot`.
    """
    rows, cells = report["rows"], fidelity_cells(report)
    figure = Figure(figsize=(3.6 * len(rows) + 0.6, 3.8))
    panels = figure.subplots(1, len(rows), squeeze=False, sharey=True)[0]
    for axes, row in zip(panels, rows, strict=True):
        draw_bands(axes, [])
        for each in (each for each in cells if each.row == row["name"]):
            axes.scatter(each.shared, each.table, s=9, alpha=0.5, label=f"seed {each.seed}")
        axes.set_title(f"{row['name']}, τ = {row['kendall']['mean']:.2f}", fontsize="medium")
        axes.set_xlabel("with shared weights, %")
    panels[0].set_ylabel("in the table, %")
    panels[0].legend(frameon=False, fontsize="small")
    figure.tight_layout()
    save_plot(figure, path)


def draw_front(report: Mapping[str, Any], path: Path) -> None:
    """Draw the front of what a sweep found, and random architectures behind it.

    Args:
        report: of `nasp.bench.contests.sweep.run`.
        path: see `nasp.bench.plots.save_plot`.
    """
    found, random, sweep = report["points"], report["random"], report["settings"]
    quantity = find_quantity(report["cost"])
    unit, size = quantity.unit(max(point["cost"] for point in [*found, *random]))
    figure = Figure(figsize=(7.5, 5.0), layout="constrained")
    axes = figure.subplots()

    def scatter(points: Sequence[Mapping[str, Any]], **style: Any) -> None:
        costs = [point["cost"] / size for point in points]
        axes.scatter(costs, [100 * point["error"] for point in points], **style)

    scatter(random, s=10, color="#c4c4c4", label=f"{len(random)} random architectures")
    colours = matplotlib.colormaps["viridis"].resampled(max(len(report["rows"]), 2))
    for index, row in enumerate(report["rows"]):
        own = [point for point in found if point["setting"] == row["name"]]
        edge: dict[str, Any] = {"edgecolors": "black", "linewidths": 0.5, "zorder": 3}
        scatter(own, color=[colours(index)], label=row["name"], **edge)
    front = sorted((p["cost"] / size, 100 * p["error"]) for p in found if p["on_front"])
    axes.step(*zip(*front, strict=True), where="post", color="#b5432e", zorder=2, label="front")
    cost = f"{quantity.label} of the network ({report['network']})"
    axes.set(xlabel=f"{cost}, {unit}" if unit else cost, ylabel=f"{report['error']}, %")
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(ScalarFormatter())
    axes.yaxis.minorticks_off()
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    search = sweep["search"]
    data, strategy = search["data"]["name"].rpartition("/")[2], search["search"]["strategy"]
    figure.suptitle(f"{search['space']} on {data}, {strategy}")
    save_plot(figure, path)
