"""What stands first at a cost by the mean of several searches' gains, by NAS-Bench-201.

python several.py nasbench201-cifar10.csv: of the searches at a target in traces.json that chose
nothing, so many are drawn again and again, and each counts in standard deviations.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from rank import Array, cells_of
from together import HERE, LOOKED_AT, TARGET, at, places, values

SEVERAL = (1, 2, 3, 5, 7)
DRAWS = 300
COSTS = (0.4, 0.6)


def main() -> None:
    """Print a row for each number of searches."""
    cells = cells_of("cifar10", Path(sys.argv[1]))
    gains: list[Array] = []
    for trace in json.loads((HERE / "traces.json").read_text()):
        own = trace.get("own", [])
        is_meant = trace["seed"] not in LOOKED_AT and trace["data"] == "cifar10"
        if is_meant and len(own) == 1 and own[0].startswith(TARGET):
            gain = values(trace["moments"][-1], cells)["line integral"]
            gains.append((gain - gain.mean()) / gain.std())
    draw = np.random.default_rng(0)
    for count in SEVERAL:
        found = {cost: [] for cost in COSTS}
        for _ in range(DRAWS):
            drawn = draw.choice(len(gains), count, replace=False)
            total = np.sum([gains[each] for each in drawn], axis=0)
            for cost in COSTS:
                those = at(cells, cost)
                found[cost].append(places(total[those], cells.accuracy[those], (1, 4)))
        for cost, each in found.items():
            first, four = np.mean(each, axis=0).tolist()
            below = 100 * np.mean(np.array(each)[:, 0] < 70)
            print(
                f"{count} of {len(gains)} searches, {cost} M: percentile {first:.0f},"
                f" of the first four {four:.0f}; below 70 in {below:.0f} %"
            )


if __name__ == "__main__":
    main()
