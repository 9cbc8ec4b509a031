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
TARGET = "target.params="
USUAL = "weight_steps=8"
"""Is the default by now."""
LOOKED_AT = {600, 601, 603, 700, 701, 702, 703, 704, 705, 800, 801, 900, 901}
"""Seeds by which the line integral was chosen."""


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


def places(
    sums: Array, accuracy: Array, counts: Sequence[int], among: Array | None = None
) -> list[float]:
    """Return the mean percentile of the cells of the largest sums, for each count of them.

    It is the percentile among the accuracies of other cells, where they are given.
    """
    among = accuracy if among is None else among
    order = np.argsort(-sums, kind="stable")[: max(counts)]
    each = [100 * float((among < accuracy[cell]).mean()) for cell in order]
    return [statistics.fmean(each[:count]) for count in counts]


def at(cells: Cells, cost: float) -> Array:
    """Return which cells cost about so much."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.flatnonzero(abs(cells.size / cost - 1) <= WITHIN)


def kind(trace: dict[str, Any]) -> str:
    """Return what a search is told with: data, length, its own, and whether it chose anything."""
    own = [each for each in trace.get("own", []) if not each.startswith(USUAL)]
    seen = "looked at" if trace["seed"] in LOOKED_AT else "held out"
    return ", ".join([trace["data"], f"{trace['steps']} steps", *own, seen])


def main() -> None:
    """Print a row a kind of search and what ranks, and the targets of those that had one."""
    csv_file = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    rows: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for trace in json.loads((HERE / "traces.json").read_text()):
        data, moment = trace["data"], trace["moments"][-1]
        if "fit" not in moment or (data == "cifar10" and csv_file is None):
            continue
        cells = cells_of(data, csv_file if data == "cifar10" else None)
        counts, fewest = FIRST.get(data, (1, 2, 3)), FEWEST.get(data, 6)
        costs = [those for s in np.unique(cells.size) if len(those := at(cells, s)) >= fewest]
        for name, sums in values(moment, cells).items():
            found = measured(sums, cells)
            means = np.mean(
                [places(sums[those], cells.accuracy[those], counts) for those in costs], axis=0
            )
            figures = [found["tau"], found["alike"], found["picked"], *means.tolist()]
            for target in (own for own in trace.get("own", []) if own.startswith(TARGET)):
                those = at(cells, float(target.removeprefix(TARGET).removesuffix("M")))
                there = places(sums[those], cells.accuracy[those], counts)
                tau = stats.kendalltau(sums[those], cells.accuracy[those]).statistic
                figures += [*there, float(tau)]
                print(f"seed {trace['seed']}, {target}, {name}: percentile {there[0]:.0f}")
            rows[kind(trace), name].append(figures)
    for (of, name), found in sorted(rows.items()):
        tau, alike, picked, *others = np.mean(found, axis=0).tolist()
        first, few, more, *there = others
        told = ", ".join(f"{place:.0f}" for place in there[:-1])
        print(
            f"{of}, {name}, {len(found)} searches: tau {tau:.2f}, equal size {alike:.2f},"
            f" picked {picked:.2f}, percentiles at a cost {first:.0f}, {few:.0f}, {more:.0f}",
            *([f"at the target {told}, tau {there[-1]:.2f}"] if there else []),
        )


if __name__ == "__main__":
    main()
