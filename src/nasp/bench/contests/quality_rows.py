"""From finished searches to the report of ``nasp bench quality``."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

from nasp.bench.contests.contest import by_contestant
from nasp.bench.contests.peers import Peers
from nasp.bench.results import Measurements, machines
from nasp.bench.seeds import compare, over_seeds
from nasp.bench.tables.accuracies import AccuracyTable
from nasp.runs.clock import Clock
from nasp.spaces import find_space
from nasp.spaces.sampling import share_without_parameters, without_parameters
from nasp.supernet.architecture import Architecture

Row = dict[str, Any]

SECONDS: dict[Clock, str] = {"wall": "seconds", "cpu": "cpu_seconds"}
"""Clock -> the entry of a row."""


MARKS = {
    "*": "returned, with every seed, the cell that it started from: no search is shown.",
    "†": "returned, with every seed, a cell without parameters.",
}
"""What a row is marked with -> what that says of it."""


def summary(found: Measurements, table: AccuracyTable, reference: str | None) -> Row:
    """Return the report's entries.

    Args:
        found: searches and calibrations, as `nasp.bench.contests.quality` keeps them.
        table: the table.
        reference: label of the one that all others are compared with, where it takes part.
    """
    free = without_parameters(find_space(table.space))
    peers = Peers(table)
    rows = [
        {**head, **_row(searches, table, free, peers)} for head, searches in by_contestant(found)
    ]
    ran_on = machines(found)
    return {
        "rows": rows,
        "comparisons": comparisons(rows, reference),
        "calibration": {
            value["contestant"]["label"]: {
                part: value[part] for part in ("epochs", "selection_epochs", "costs")
            }
            for value in found.values()
            if "sample" not in value
        },
        "table": {
            "name": table.name,
            "cells": len(table.accuracies),
            "best": table.best,
            "median": statistics.median(table.accuracies.values()),
            "made_with": dict(table.made_with),
        },
        "machine": ran_on[0] if len(ran_on) == 1 else ran_on or None,
    }


def comparisons(rows: Sequence[Row], reference: str | None) -> list[Row]:
    """Return the reference against every other row, over the seeds that both have."""
    by_name = {row["name"]: row for row in rows}
    if reference not in by_name:
        return []
    first = _by_seed(by_name[reference])
    found = []
    for name, row in by_name.items():
        second = _by_seed(row)
        both = sorted(first.keys() & second.keys())
        if name != reference and both:
            compared = compare([first[seed] for seed in both], [second[seed] for seed in both])
            found.append({"name": reference, "against": name, **dataclasses.asdict(compared)})
    return found


def _row(
    searches: Sequence[Any], table: AccuracyTable, free: frozenset[tuple[str, str]], peers: Peers
) -> Row:
    samples = [search["sample"] for search in searches]
    cells = [Architecture(sample["architecture"], table.space) for sample in samples]
    accuracies = [table.accuracy(cell) for cell in cells]
    starts = [sample.get("start") for sample in samples]
    shares = [share_without_parameters(cell.edges, free) for cell in cells]
    return {
        "marks": [
            all(
                sample["architecture"] == start
                for sample, start in zip(samples, starts, strict=True)
            ),
            all(share == 1 for share in shares),
        ],
        "table_accuracy": over_seeds(accuracies),
        "regret": statistics.fmean(table.best - accuracy for accuracy in accuracies),
        "percentile": statistics.fmean(table.percentile(accuracy) for accuracy in accuracies),
        "at_cost": peers.standing(samples[0].get("bounds", []), accuracies),
        "parameterless": statistics.fmean(shares),
        "epochs": searches[0]["epochs"],
        "seconds": statistics.fmean(sample["total"]["wall"] for sample in samples),
        "cpu_seconds": statistics.fmean(sample["total"]["cpu"] for sample in samples),
        "peak_bytes": max(sample["peak_bytes"] for sample in samples),
        "architectures": [find_space(table.space).notation(cell) for cell in cells],
        "per_epoch": _per_epoch(samples, table, free),
    }


def _per_epoch(
    samples: Sequence[Any], table: AccuracyTable, free: frozenset[tuple[str, str]]
) -> list[Row]:
    """Return what was derived after each epoch, before any selection."""
    rows = []
    for epoch in range(min(len(sample["derived"]) for sample in samples)):
        derived = [sample["derived"][epoch] for sample in samples]
        ends = [sample["phases"][0]["ends"][epoch] for sample in samples]
        rows.append(
            {
                "epoch": epoch + 1,
                "seconds": statistics.fmean(end["wall"] for end in ends),
                "cpu_seconds": statistics.fmean(end["cpu"] for end in ends),
                "table_accuracy": over_seeds(
                    [table.accuracy(Architecture(edges, table.space)) for edges in derived]
                ),
                "parameterless": statistics.fmean(
                    share_without_parameters(edges, free) for edges in derived
                ),
            }
        )
    return rows


def _by_seed(row: Row) -> dict[int, float]:
    return dict(zip(row["seeds"], row["table_accuracy"]["seeds"], strict=True))
