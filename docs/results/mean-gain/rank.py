"""How the mean gain, the mean gradient, the mean point and size rank cells, by traces.json.

python rank.py [nasbench201-cifar10.csv]; without that table its searches are left out.
"""

from __future__ import annotations

import csv
import json
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nasp.bench.contests.fidelity import parameters
from nasp.bench.tables.accuracies import embedded, read_csv
from nasp.bilevel.knowledge import SEEN
from nasp.spaces import find_space
from nasp.spaces.sampling import small_supernet

HERE = Path(__file__).parent
HELD_OUT = range(710, 800)
"""Seeds that were not looked at when the scores were chosen."""
TARGETS, WITHIN = (0.4, 0.6, 0.8), 0.05
"""Millions of parameters in NAS-Bench-201's network, and how far from them."""
FEWEST = 6
"""Cells that a class of equal size has at least."""
Array = NDArray[np.float64]
Key = tuple[str, int, int]
"""A table, the steps of a search, and after how many of them it is looked at."""


class Cells(NamedTuple):
    """The cells of a table that pass anything on: paths, accuracies, sizes."""

    paths: NDArray[np.int64]
    accuracy: Array
    size: Array


@cache
def cells_of(data: str, csv_file: Path | None) -> Cells:
    """Return what is known of the space that these data were searched in."""
    table = read_csv(csv_file, "nasbench201") if csv_file else embedded(data)
    space = find_space(table.space)
    supernet = small_supernet(space)
    live = [cell for cell, accuracy in table.accuracies.items() if accuracy > 20]
    sizes = dict(zip(live, parameters(table.space, live), strict=True)) if not csv_file else {}
    if csv_file:
        with csv_file.open() as file:
            sizes = {row["arch"]: float(row["params_m"]) for row in csv.DictReader(file)}
    return Cells(
        np.array([supernet.path(space.parse(cell)) for cell in live]),
        np.array([table.accuracies[cell] for cell in live]),
        np.array([sizes[cell] for cell in live]),
    )


def scores(moment: Mapping[str, Any]) -> dict[str, Array]:
    """Return what ranks paths, ``[edges, candidates]``, by name."""
    return {
        "mean gain": np.array(moment["gains"]),
        "mean gradient": -np.array(moment["mean_gradient"]),
        # As log odds rank; in these spaces no edge is ever off.
        "mean point": np.log(np.array(moment["shares"]) * moment["steps"] + 1),
    }


def measured(sums: Array, cells: Cells) -> dict[str, float]:
    """Return how well sums of scores rank cells."""
    alike, weights, places, gains = [], [], [], []
    for size in np.unique(cells.size):
        those = np.flatnonzero(cells.size == size)
        if len(those) < FEWEST:
            continue
        here, there = sums[those], cells.accuracy[those]
        tau = stats.kendalltau(here, there).statistic
        alike.append(0.0 if np.isnan(tau) else tau)
        weights.append(len(those) * (len(those) - 1))
        firsts = there[here >= here.max() - 1e-12]
        below = [(there < first).sum() + ((there == first).sum() - 1) / 2 for first in firsts]
        places.append(100 * float(np.mean(below)) / (len(those) - 1))
        gains.append(float(firsts.mean() - there.mean()))
    return {
        "tau": float(stats.kendalltau(sums, cells.accuracy).statistic),
        "alike": float(np.average(alike, weights=weights)),
        "percentile": statistics.fmean(places),
        "gain": statistics.fmean(gains),
        "picked": float(cells.accuracy[np.argmax(sums)]),
        "size_tau": float(stats.kendalltau(sums, cells.size).statistic),
    }


def spread(values: Sequence[float]) -> str:
    """Return mean and standard deviation as text."""
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{deviation}"


def compare(groups: Mapping[Key, Sequence[Mapping[str, Any]]]) -> None:
    """Print how gains do beside points in the same searches: mean difference, p, wins, losses."""
    for (data, whole, steps), moments in sorted(groups.items()):
        told = []
        for what in ("tau", "alike", "picked"):
            gain, point = (
                [moment["ranked"][name][what] for moment in moments]
                for name in ("mean gain", "mean point")
            )
            p = stats.ttest_rel(gain, point).pvalue
            better = sum(a > b for a, b in zip(gain, point, strict=True))
            worse = sum(a < b for a, b in zip(gain, point, strict=True))
            less = statistics.fmean(gain) - statistics.fmean(point)
            told.append(f"{what} {less:+.2f} (p {p:.2g}, {better} to {worse})")
        print(f"gain less point, {data}, {steps} of {whole}: {', '.join(told)}")


def show(groups: Mapping[Key, Sequence[Mapping[str, Any]]]) -> None:
    """Print a row a table, moment and score."""
    for (data, whole, steps), moments in sorted(groups.items()):
        for name in moments[0]["ranked"]:
            rows = [moment["ranked"][name] for moment in moments]
            each = {key: [row[key] for row in rows] for key in rows[0]}
            print(
                f"{data:16} {steps:5} of {whole:5} {name:13} n={len(rows):2} tau"
                f" {spread(each['tau'])}, alike {spread(each['alike'])}, percentile"
                f" {statistics.fmean(each['percentile']):.0f},"
                f" gain {statistics.fmean(each['gain']):+.2f}, picked"
                f" {statistics.fmean(each['picked']):.2f}, size {spread(each['size_tau'])},"
                f" search {statistics.fmean(moment['cpu'] for moment in moments):.0f} s"
            )


def show_targets(seed: int, steps: int, sums: Mapping[str, Array], cells: Cells) -> None:
    """Print where the first cell of about so many million parameters stands among these cells."""
    told = []
    for target in TARGETS:
        those = np.flatnonzero(abs(cells.size / target - 1) <= WITHIN)
        for name, each in sums.items():
            first = cells.accuracy[those[np.argmax(each[those])]]
            place = 100 * float((cells.accuracy[those] < first).mean())
            told.append(f"{target} M {name} {first:.2f} ({place:.0f})")
    print(f"seed {seed}, {steps} steps: {', '.join(told)}")


def know(moments: Sequence[Mapping[str, Any]]) -> None:
    """Print what a search can measure of itself, and how that goes with its fidelity."""
    taus = [moment["ranked"]["mean gain"]["tau"] for moment in moments]
    own = {
        "size_tau": [moment["ranked"]["mean gain"]["size_tau"] for moment in moments],
        "agreement": [moment["agreement"] for moment in moments],
        "accuracy": [moment["accuracy"] for moment in moments],
    }
    by_data = defaultdict(list)
    for index, moment in enumerate(moments):
        by_data[moment["data"]].append(index)
    for name, values in own.items():
        groups = {**by_data, "all": list(range(len(moments)))}
        r = {
            data: f"{stats.pearsonr([values[i] for i in ix], [taus[i] for i in ix]).statistic:.2f}"
            f" ({len(ix)})"
            for data, ix in groups.items()
        }
        print(f"r of {name} with tau: {r}")
    for data, ix in [*by_data.items(), ("all", range(len(moments)))]:
        for is_seen in (False, True):
            those = [taus[i] for i in ix if (own["size_tau"][i] >= SEEN) == is_seen]
            if len(those) > 1:
                print(
                    f"{data}: size_tau {'from' if is_seen else 'below'} {SEEN}: tau {spread(those)}"
                    f", {min(those):.2f} to {max(those):.2f} ({len(those)})"
                )


def main() -> None:
    """Print the figures of the documentation."""
    csv_file = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    known: dict[str, Cells] = {}
    groups: dict[Key, list[dict[str, Any]]] = defaultdict(list)
    for trace in json.loads((HERE / "traces.json").read_text()):
        data = trace["data"]
        if data == "cifar10" and csv_file is None:
            continue
        cells = known[data] = cells_of(data, csv_file if data == "cifar10" else None)
        edges = np.arange(cells.paths.shape[1])
        for moment in trace["moments"]:
            sums = {n: s[edges, cells.paths].sum(axis=1) for n, s in scores(moment).items()}
            ranked = {name: measured(each, cells) for name, each in sums.items()}
            if data == "cifar10":
                show_targets(trace["seed"], moment["steps"], sums, cells)
            name = f"{data}, held out" if trace["seed"] in HELD_OUT else data
            name += "".join(f" {each}" for each in trace.get("own", []))
            moment["cpu"] = trace.get("cpu", math.nan)
            key = (name, trace["steps"], moment["steps"])
            groups[key].append({**moment, "data": name, "ranked": ranked})
    for data, cells in known.items():
        print(data, len(cells.size), "cells; size:", measured(cells.size, cells))
    show(groups)
    compare(groups)
    for is_held_out in (False, True):
        print("held out:" if is_held_out else "looked at:")
        usual = (key for key in groups if "=" not in key[0])
        those = (key for key in usual if ("held out" in key[0]) == is_held_out)
        know([moment for key in those for moment in groups[key]])


if __name__ == "__main__":
    main()
