"""What SynFlow adds to the gradients of the searches at a target in traces.json, by NAS-Bench-201.

python flow.py FOLDER, with a folder of CIFAR-10 and nasbench201-cifar10.csv here. Prints a line a
search: where what is first by the gradients, by SynFlow and by both stands among the cells of the
cost, the first four in the mean, and Kendall's tau of each with the table there; then the means.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from moments import TABLE, settings_of
from rank import Array, Cells, cells_of, scores
from scipy import stats
from together import HERE, TARGET, at, places, values

from nasp.bench.contests.contestant import parse_contestant
from nasp.bilevel.selection.by_scores import LOOKED_AT
from nasp.jobs.search_job import prepared
from nasp.strategies.synflow import synflow_score
from nasp.training.events import nobody

Figures = tuple[float, float, float]
"""Percentile of the first, of the first four, and tau."""
FIRST = (1, 4)
LOOKED_AT_SEEDS = range(911)
"""By which it was chosen that both count alike."""


def sums(moment: dict[str, Any], cells: Cells) -> Array:
    """Return the sums by which a search lists cells: of the fit's slopes at the mean point."""
    edges, candidates = scores(moment)["mean gain"].shape
    slopes, mean = np.array(moment["fit"]["slopes"]), np.array(moment["shares"]).flatten()
    each = np.array(moment["fit"]["alone"]) + (slopes + slopes.T) @ mean / 2
    listed: Array = each.reshape(edges, candidates)[np.arange(edges), cells.paths].sum(axis=1)
    return listed


def both(gain: Array, flow: Array) -> Array:
    """Return the sum of the two, each in standard deviations."""
    return np.sum([(each - each.mean()) / each.std() for each in (gain, flow)], axis=0)


def main() -> None:
    """Print what each search would find, and the means."""
    (folder,) = sys.argv[1:]
    torch.set_num_threads(1)
    cells = cells_of("cifar10", Path(TABLE))
    settings = settings_of(folder, 24)
    data = None
    rows: dict[str, list[dict[str, Figures]]] = defaultdict(list)
    for trace in json.loads((HERE / "traces.json").read_text()):
        own, moment = trace.get("own", []), trace["moments"][-1]
        if len(own) != 1 or not own[0].startswith(TARGET) or trace["data"] != "cifar10":
            continue
        job = settings.job(parse_contestant("nasp=nasp"), trace["seed"], 24)
        data = data or job.domain.read(job.data, nobody)
        supernet, loaders, _ = prepared(data, job)
        score = synflow_score(supernet, data.task(), next(iter(loaders.weights)))
        those = at(cells, float(own[0].removeprefix(TARGET).removesuffix("M")))
        paths, accuracy = cells.paths[those], cells.accuracy[those]
        flow = np.array([score(supernet.architecture(tuple(map(int, each)))) for each in paths])
        gain = values(moment, cells)["line integral"][those]
        listed = np.argsort(-sums(moment, cells)[those], kind="stable")[:LOOKED_AT]
        flow[~np.isfinite(flow)] = flow[np.isfinite(flow)].min()
        gain_there, flow_there = gain[listed], flow[listed]
        found = {
            "gradients": (places(gain_there, accuracy[listed], FIRST, accuracy), gain),
            "SynFlow": (places(flow, accuracy, FIRST), flow),
            "both": (
                places(both(gain_there, flow_there), accuracy[listed], FIRST, accuracy),
                both(gain, flow),
            ),
        }
        figures = {
            name: (*first, float(stats.kendalltau(ranking, accuracy).statistic))
            for name, (first, ranking) in found.items()
        }
        print(f"seed {trace['seed']}, {own[0]}: {told([figures])}", flush=True)
        seen = "looked at" if trace["seed"] in LOOKED_AT_SEEDS else "held out"
        rows[seen].append(figures)
        rows[f"{seen}, {own[0]}"].append(figures)
    for kind, several in rows.items():
        print(f"{kind}, {len(several)} searches: {told(several)}")


def told(several: Sequence[Mapping[str, Figures]]) -> str:
    """Return the means of each way to rank, and the least first."""
    said = []
    for name in several[0]:
        first, four, tau = (
            statistics.fmean(each) for each in zip(*(f[name] for f in several), strict=True)
        )
        least = min(figures[name][0] for figures in several)
        said.append(f"{name} {first:.0f} (least {least:.0f}, four {four:.0f}, tau {tau:.2f})")
    return ", ".join(said)


if __name__ == "__main__":
    main()
