"""Draws how well searches rank cells, by their length, to by-length.png; from traces.json.

python length.py [nasbench201-cifar10.csv]; without that table its searches are left out. Searches
of eight weight steps to an architecture step that have neither a bound nor another size are taken.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rank import Cells, cells_of, measured, scores

HERE = Path(__file__).parent
EVERY = 8
PASS = 312
"""Weight steps of an epoch, but of digits, whose searches say themselves that they are such."""
FIGURES = {"tau": "all cells", "alike": "cells of equal size"}
COLOURS = {"digits": "tab:blue", "fashion-mnist": "tab:orange", "cifar10": "tab:green"}
NAMES = {"digits": "digits", "fashion-mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
Lines = dict[tuple[str, int], list[list[dict[str, float]]]]


def is_taken(trace: dict[str, Any]) -> bool:
    """Tell whether a search is one of eight to one, of the usual network, at no given cost."""
    own, epochs = trace.get("own", []), trace.get("epochs")
    if own:
        return own == [f"weight_steps={EVERY}"] and len(trace["moments"]) > 1
    return bool(epochs) and round(epochs * PASS / trace["steps"]) == EVERY


def draw(axes: Axes, figure: str, lines: Lines, sizes: dict[str, float]) -> None:
    """Draw a line for each table and length of search, its spread, and what size says."""
    for ((data, steps), searches), marker in zip(
        sorted(lines.items()), cycle("osv^D*xP"), strict=False
    ):
        x = [moment["at"] for moment in searches[0]]
        y = np.array([[moment[figure] for moment in search] for search in searches])
        mean, colour = y.mean(axis=0), COLOURS[data]
        label = f"{NAMES[data]}, {steps:,} steps ({len(searches)})"
        axes.plot(x, mean, marker=marker, markersize=4, color=colour, label=label)
        if len(searches) > 1:
            spread = y.std(axis=0, ddof=1)
            axes.fill_between(x, mean - spread, mean + spread, color=colour, alpha=0.12)
    for data, size in sizes.items():
        axes.axhline(size if figure == "tau" else 0, color=COLOURS[data], linestyle=":")
    axes.set(xscale="log", xlabel="weight steps so far", title=FIGURES[figure], ylim=(-0.25, 0.75))
    axes.grid(alpha=0.3)


def main() -> None:
    """Draw the picture."""
    csv_file = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    lines: Lines = defaultdict(list)
    known: dict[str, Cells] = {}
    for trace in json.loads((HERE / "traces.json").read_text()):
        data = trace["data"]
        if not is_taken(trace) or (data == "cifar10" and csv_file is None):
            continue
        cells = known[data] = cells_of(data, csv_file if data == "cifar10" else None)
        edges = np.arange(cells.paths.shape[1])
        found = []
        for moment in trace["moments"]:
            sums = scores(moment)["mean gain"][edges, cells.paths].sum(axis=1)
            found.append({"at": EVERY * moment["steps"], **measured(sums, cells)})
        lines[data, EVERY * trace["steps"]].append(found)
    sizes = {data: measured(cells.size, cells)["tau"] for data, cells in known.items()}
    page = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = page.subplots(1, 2, sharey=True)
    for axes, figure in zip((left, right), FIGURES, strict=True):
        draw(axes, figure, lines, sizes)
    left.set_ylabel("Kendall's τ with the table")
    left.legend(
        fontsize=7,
        loc="lower right",
        title="length (searches); dotted: size alone",
        title_fontsize=7,
    )
    page.savefig(HERE / "by-length.png", dpi=110)


if __name__ == "__main__":
    main()
