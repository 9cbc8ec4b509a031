"""How the weights of a search's supernet rank the cells of one cost, by NAS-Bench-201.

python shared.py FOLDER EPOCHS TARGET SEED..., with a folder of CIFAR-10 and a target such as 0.4M.
Prints Kendall's tau with the table, and at what percentile the first, the mean of the first
four and of the first 16 stand.
"""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path

import numpy as np
import torch
from moments import TABLE, settings_of
from rank import WITHIN
from scipy import stats
from together import FIRST, places

from nasp.bench.contests.contestant import parse_contestant
from nasp.bench.contests.search import SearchRequest, run_search

COSTS = (0.4, 0.6)
"""Million parameters of the cells that are measured."""
CELLS = 260
"""That are drawn, where there are more of a cost."""
BATCHES = 16


def drawn_cells() -> dict[float, dict[str, float]]:
    """Return some cells of each cost and their accuracies by the table."""
    with Path(TABLE).open() as file:
        rows = list(csv.DictReader(file))
    size = np.array([float(row["params_m"]) for row in rows])
    draw, found = np.random.default_rng(0), {}
    for cost in COSTS:
        those = np.flatnonzero(abs(size / cost - 1) <= WITHIN)
        those = draw.choice(those, CELLS, replace=False) if len(those) > CELLS else those
        found[cost] = {rows[i]["arch"]: float(rows[i]["test_accuracy"]) for i in those}
    return found


def main() -> None:
    """Search by each seed, and print a line for each cost."""
    folder, epochs, target, *seeds = sys.argv[1:]
    torch.set_num_threads(1)
    cells = drawn_cells()
    settings = settings_of(folder, int(epochs))
    contestant = parse_contestant(f"nasp=nasp fallback=none target.params={target}")
    for seed in map(int, seeds):
        job = settings.job(contestant, seed, int(epochs))
        asked = tuple(cell for those in cells.values() for cell in those)
        sample = run_search(SearchRequest(job=job, cells=asked, batches=BATCHES))
        measured = dict(zip(asked, sample.shared, strict=True))
        for cost, truth in cells.items():
            shared = np.array([measured[cell] or -math.inf for cell in truth])
            accuracy = np.array(list(truth.values()))
            tau = stats.kendalltau(shared, accuracy).statistic
            means = ", ".join(f"{each:.0f}" for each in places(shared, accuracy, FIRST["cifar10"]))
            print(f"seed {seed}, {len(truth)} of {cost} M: tau {tau:.2f}, percentiles {means}")


if __name__ == "__main__":
    main()
