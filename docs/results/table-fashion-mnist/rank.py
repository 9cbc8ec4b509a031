"""What the searches of the fidelity files rank, by the table of several trainings a cell.

python docs/results/table-fashion-mnist/rank.py
"""

from __future__ import annotations

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scipy import stats

from nasp.bench.contests.fidelity import agreement, parameters

HERE = Path(__file__).parent
FILES = ("312-steps", "936-steps", "3744-steps", "1000-images")
FEWEST = 6
"""Cells that a class of equal size has at least."""


def read() -> tuple[dict[str, list[float]], dict[str, int]]:
    """Return cell -> its accuracies seed by seed, and cell -> its network's parameters."""
    found: dict[str, dict[int, float]] = defaultdict(dict)
    sizes = {}
    measurements = json.loads((HERE / "measurements.json").read_text())["measurements"]
    for key, value in measurements.items():
        cell, seed = key.rsplit(" ", 1)
        found[cell][int(seed)] = value["test_accuracy"]
        sizes[cell] = value["parameters"]
    seeds = sorted(set.intersection(*(set(each) for each in found.values())))
    return {cell: [each[seed] for seed in seeds] for cell, each in found.items()}, sizes


def describe(cells: Mapping[str, Sequence[float]]) -> None:
    """Print how far cells and seeds lie apart; what all cells of a seed share is left out."""
    seeds = [statistics.fmean(column) for column in zip(*cells.values(), strict=True)]
    own = [
        statistics.variance([a - mean for a, mean in zip(row, seeds, strict=True)])
        for row in cells.values()
    ]
    means = [statistics.fmean(row) for row in cells.values()]
    within, between = math.sqrt(statistics.fmean(own)), statistics.stdev(means)
    print(
        f"{len(cells)} cells, {len(seeds)} seeds: best {max(means):.2f}, median"
        f" {statistics.median(means):.2f}, worst {min(means):.2f}, mean"
        f" {statistics.fmean(means):.2f}"
    )
    print(
        f"deviation between cells {between:.2f}, of a cell over seeds {within:.2f}, of its mean"
        f" {within / math.sqrt(len(seeds)):.2f}; seeds' means {[round(s, 2) for s in seeds]}"
    )


def place(score: Mapping[str, float], cells: Sequence[str], table: Mapping[str, float]) -> float:
    """Return the percentile, among cells of one size, of the one with the best score."""
    first = max(cells, key=score.__getitem__)
    others = [table[cell] for cell in cells if cell != first]
    worse = sum((other < table[first]) + (other == table[first]) / 2 for other in others)
    return 100 * worse / len(others)


def main() -> None:
    """Print the figures of the documentation."""
    accuracies, sizes = read()
    table = {cell: statistics.fmean(row) for cell, row in accuracies.items()}
    live = {cell: row for cell, row in accuracies.items() if table[cell] > 20}
    describe(live)
    by_size: dict[int, list[str]] = defaultdict(list)
    for cell in live:
        by_size[sizes[cell]].append(cell)
    alike = [cells for cells in by_size.values() if len(cells) >= FEWEST]
    known: list[tuple[float, float, float]] = []
    for name in FILES:
        file: dict[str, Any] = json.loads(
            (HERE.parent / f"fidelity-fashion-mnist-{name}.json").read_text()
        )
        cells = file["cells"]
        counted = parameters("nasbench201-3", cells)
        truth = [table[cell] for cell in cells]
        alive = [i for i, cell in enumerate(cells) if cell in live]
        print(name, "size:", round(agreement(counted, truth, counted).kendall, 2))
        for row in file["rows"]:
            for by in ("scored", "shared"):
                for scores, halves in zip(row[by], row["agreement"], strict=True):
                    given = [-math.inf if score is None else score for score in scores]
                    whole = agreement(given, truth, counted)
                    few = [[values[i] for i in alive] for values in (given, truth, counted)]
                    score = dict(zip(cells, given, strict=True))
                    places = [place(score, group, table) for group in alike]
                    size_tau = stats.kendalltau(few[0], few[2]).statistic
                    part = agreement(few[0], few[1], few[2])
                    if by == "scored" and name != "1000-images":
                        known.append((size_tau, halves, part.kendall))
                    print(
                        f"  {row['name']} {by}: tau {whole.kendall:.2f}, equal size"
                        f" {whole.kendall_alike:.2f}, picked {whole.picked:.2f}; live: tau"
                        f" {part.kendall:.2f}, equal size {part.kendall_alike:.2f}; first of its"
                        f" size: percentile {statistics.fmean(places):.0f}; with size"
                        f" {size_tau:.2f}"
                    )
    # What a search knows itself: how alike its scores and size rank cells, and its two halves.
    by_size_tau, by_halves, taus = zip(*known, strict=True)
    for what, values in (("size_tau", by_size_tau), ("agreement", by_halves)):
        print(f"r of {what} with tau: {stats.pearsonr(values, taus).statistic:.2f}")


if __name__ == "__main__":
    main()
