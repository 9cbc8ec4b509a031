"""Searches whose gradients and discrete points are averaged at several moments.

python moments.py DATA EPOCHS SEED... [NAME=VALUE...], with DATA digits, fashion-mnist or a folder
of CIFAR-10, and settings of the strategy or target; channels=N and cells=N (a stage) are the
supernet's, with CIFAR-10. Each search adds an entry to traces.json beside this.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from nasp.bench.contests.contestant import parse_contestant
from nasp.bench.contests.settings import ContestSettings, contest_settings
from nasp.jobs.search import search_in
from nasp.strategies.average import MeanGain, MeanPoint
from nasp.strategies.nasp import NASP
from nasp.supernet.supernet import Alphas, Supernet
from nasp.training.events import nobody
from nasp.training.task import Batch, Metrics

HERE = Path(__file__).parent
TABLE = "nasbench201-cifar10.csv"
"""Of NAS-Bench-201, with the columns arch, test_accuracy and params_m; not part of this project."""
SIZE = {"channels": 8, "cells": 1}
"""Of the supernet, with CIFAR-10."""
EMBEDDED = "digits", "fashion-mnist"
SHARES = (0.0625, 0.125, 0.25, 0.5, 1.0)
"""Of the search, after which it is looked at."""
FEEDS: dict[str, dict[str, int]] = {"digits": {"batch_size": 32}}
OTHERS = {"batch_size": 64, "subset": 20_000}


class Trace:
    """What each architecture step of a search was at, and its gradient."""

    def __init__(self) -> None:
        self.points: list[Alphas] = []
        self.gradients: list[Alphas] = []
        self.right: list[float] = []

    def moments(self, supernet: Supernet) -> list[dict[str, Any]]:
        """Return what is made of the last half of the steps so far, at each moment."""
        found = []
        for share in SHARES:
            steps = round(share * len(self.points))
            last = slice(steps // 2, steps)
            points, gradients = self.points[last], self.gradients[last]
            # Its halves are those of its last stretch, which is all of it.
            gain, point = (
                MeanGain(supernet, len(points), 1.0),
                MeanPoint(supernet, len(points), 1.0),
            )
            for one_hot, gradient in zip(points, gradients, strict=True):
                gain.add_step(one_hot, gradient)
                point.add_step(one_hot)
            means = torch.stack([next(iter(each.values())).double() for each in gradients]).mean(0)
            found.append(
                {
                    "steps": steps,
                    "gains": rounded(gain.shown()),
                    "shares": rounded(point.shown()),
                    "mean_gradient": rounded({"": means}),
                    "agreement": gain.agreement(),
                    "accuracy": round(sum(self.right[last]) / len(self.right[last]), 4),
                }
            )
        if (fit := gain.fit()) is not None:
            found[-1]["fit"] = {
                "alone": [float(f"{value:.7g}") for value in fit.alone.tolist()],
                "slopes": rounded({"": fit.slopes}),
            }
        return found


def rounded(values: Alphas) -> list[list[float]]:
    """Return the rows of the only table to seven digits."""
    return [
        [float(f"{value:.7g}") for value in row] for row in next(iter(values.values())).tolist()
    ]


def settings_of(data: str, epochs: int, **size: int) -> ContestSettings:
    """Return the settings of searches in these data; the size, of CIFAR-10, where not `SIZE`."""
    is_cifar = data not in EMBEDDED
    size = {**SIZE, **size} if is_cifar else {}
    settings, _ = contest_settings(
        TABLE if is_cifar else None,
        f"folder:{data}" if is_cifar else data,
        None,
        {"epochs": epochs},
        {"threads": 1, "device": "cpu", **size},
        FEEDS.get(data, OTHERS),
    )
    return settings


def traced(data: str, epochs: int, seed: int, own: Sequence[str]) -> dict[str, Any]:
    """Search by the strategy's own settings, and return what was traced."""
    given = dict(each.split("=", 1) for each in own)
    size = {name: int(given.pop(name)) for name in SIZE if name in given}
    settings = settings_of(data, epochs, **size)
    settled = [f"{name}={value}" for name, value in given.items()]
    contestant = " ".join(["nasp=nasp", "fallback=none", *settled])
    job = settings.job(parse_contestant(contestant), seed, epochs)
    trace, step, add = Trace(), NASP.arch_step, MeanGain.add_step

    def noting(self: NASP, batch: Batch) -> Metrics:
        metrics = step(self, batch)
        trace.right.append(metrics["accuracy"])
        return metrics

    def adding(self: MeanGain, point: Alphas, gradients: Alphas | None) -> None:
        trace.points.append(point)
        trace.gradients.append({n: value.clone() for n, value in (gradients or {}).items()})
        add(self, point, gradients)

    torch.set_num_threads(1)
    NASP.arch_step, MeanGain.add_step = noting, adding  # type: ignore[method-assign]
    begun = time.process_time()
    try:
        found = search_in(job.domain.read(job.data, nobody), job)
    finally:
        NASP.arch_step, MeanGain.add_step = step, add  # type: ignore[method-assign]
    return {
        "data": data if data in EMBEDDED else "cifar10",
        "seed": seed,
        "own": list(own),
        "epochs": epochs,
        "cpu": round(time.process_time() - begun, 1),
        "steps": len(trace.points),
        "moments": trace.moments(found.supernet),
    }


def main() -> None:
    """Run the searches that are asked for."""
    data, epochs, *others = sys.argv[1:]
    seeds = [each for each in others if "=" not in each]
    own = [each for each in others if "=" in each]
    file = HERE / "traces.json"
    for seed in seeds:
        traces = json.loads(file.read_text()) if file.is_file() else []
        traces.append(traced(data, int(epochs), int(seed), own))
        file.write_text("[\n" + ",\n".join(json.dumps(trace) for trace in traces) + "\n]\n")


if __name__ == "__main__":
    main()
