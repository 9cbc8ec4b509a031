"""How the line integral of the gradients ranks cells beside their mean gains, by traces.json.

python together.py [nasbench201-cifar10.csv]; without that table its searches are left out.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rank import WITHIN, Array, Cells, cells_of, measured, scores
from scipy import stats

HERE = Path(__file__).parent
FIRST = {"cifar10": (1, 4, 16)}
"""Of how many the mean percentile is told; elsewhere of one, two and three."""
FEWEST = {"cifar10": 20}
"""Cells that there are at least at a cost; elsewhere six."""


def values(moment: dict[str, Any], cells: Cells) -> dict[str, Array]:
    """Return what ranks the cells, by name."""
    paths, fit = cells.paths, moment["fit"]
    gains = scores(moment)["mean gain"]
    edges, candidates = gains.shape
    x = np.eye(candidates)[paths].reshape(len(paths), -1)
    alone, slopes = np.array(fit["alone"]), np.array(fit["slopes"])
    return {
        "mean gain": gains[np.arange(edges), paths].sum(axis=1),
        "line integral": x @ alone + ((x @ slopes) * x).sum(axis=1) / 2,
        "size": cells.size,
    }


def places(sums: Array, cells: Cells, those: Array, counts: Sequence[int]) -> list[float]:
    """Return the mean percentile of the first of these cells, for each count of them."""
    order = those[np.argsort(-sums[those], kind="stable")]
    accuracy = cells.accuracy[those]
    each = [100 * float((accuracy < cells.accuracy[cell]).mean()) for cell in order[: max(counts)]]
    return [statistics.fmean(each[:count]) for count in counts]


def at(cells: Cells, cost: float) -> Array:
    """Return which cells cost about so much."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.flatnonzero(abs(cells.size / cost - 1) <= WITHIN)


def main() -> None:
    """Print a row a kind of search and what ranks, and the targets of those that had one."""
    csv_file = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    known: dict[str, Cells] = {}
    rows: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for trace in json.loads((HERE / "traces.json").read_text()):
        data, moment = trace["data"], trace["moments"][-1]
        if "fit" not in moment or (data == "cifar10" and csv_file is None):
            continue
        cells = known.get(data) or known.setdefault(
            data, cells_of(data, csv_file if data == "cifar10" else None)
        )
        counts, fewest = FIRST.get(data, (1, 2, 3)), FEWEST.get(data, 6)
        costs = [those for s in np.unique(cells.size) if len(those := at(cells, s)) >= fewest]
        own = " ".join([f"{trace['epochs']} epochs", *trace["own"]])
        for name, sums in values(moment, cells).items():
            found = measured(sums, cells)
            means = np.mean([places(sums, cells, those, counts) for those in costs], axis=0)
            figures = [found["tau"], found["alike"], found["picked"], *means.tolist()]
            for each in trace["own"]:
                if each.startswith("target.params="):
                    those = at(cells, float(each.partition("=")[2].removesuffix("M")))
                    tau = stats.kendalltau(sums[those], cells.accuracy[those]).statistic
                    figures += [*places(sums, cells, those, counts), float(tau)]
            rows[f"{data}, {own}", name].append(figures)
    for (of, name), found in rows.items():
        tau, alike, picked, *others = np.mean(found, axis=0).tolist()
        first, few, more, *target = others
        told = f"; at its target {target[0]:.0f}, {target[1]:.0f}, {target[2]:.0f}, tau" if target else ""
        told += f" {target[3]:.2f}" if target else ""
        print(
            f"{of:45} {name:14} n={len(found)} tau {tau:.2f}, alike {alike:.2f}, picked {picked:.2f},"
            f" percentiles at a cost {first:.0f}, {few:.0f}, {more:.0f}{told}"
        )


if __name__ == "__main__":
    main()
