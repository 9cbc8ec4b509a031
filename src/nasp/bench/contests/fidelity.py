"""``nasp bench fidelity``: whether the supernet knows which cells are good.

Kendall's rank correlation between what cells reach with the weights that a search leaves and what
they reach when trained alone, over cells drawn uniformly from the table.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

import torch
from scipy import stats

from nasp.bench.contests.contest import Contest, by_contestant
from nasp.bench.contests.search import SearchRequest, SearchSample
from nasp.bench.harness import measure_missing
from nasp.bench.results import Measurements, Results, machines
from nasp.bench.seeds import over_seeds
from nasp.bench.tables.accuracies import AccuracyTable
from nasp.complexity import parameter_counts
from nasp.errors import UsageError
from nasp.runs.pool import Pool, Work
from nasp.spaces import find_space
from nasp.spaces.space import NetworkConfig
from nasp.strategies import find_strategy
from nasp.supernet.supernet import Supernet
from nasp.training.events import Observer

DEFAULT_STRATEGIES = ("nasp", "random-sharing")
"""The method, and the supernet that every cell had an equal part in."""


class Agreement(NamedTuple):
    """How well a supernet's weights rank cells.

    Attributes:
        kendall: τ-b over all cells.
        p: two-sided, of the test that it is 0.
        kendall_upper: τ-b over those above the table's median.
        kendall_alike: pairs in the right order less those in the wrong one, as a share of all
            pairs of the same number of parameters: what size does not know.
        picked: accuracy in the table of the cell that is put first, per cent.
    """

    kendall: float
    p: float
    kendall_upper: float
    kendall_alike: float
    picked: float


MEANS = ("kendall", "kendall_upper", "kendall_alike", "picked")
"""What is averaged over seeds."""


def measure_fidelity(
    contest: Contest,
    samples: int,
    batches: int | None,
    path: Path | None,
    observe: Observer,
    pool: Pool | None = None,
) -> Results:
    """Search with every contestant and seed, and rank cells with the weights that it leaves.

    Args:
        contest: who, where, how often; of strategies that train a supernet, the budget in epochs.
        samples: cells, drawn uniformly, the same for all; all of a space that has fewer.
        batches: of the alphas' half, on which each cell is measured; None for all.
        path: the results' file, which is taken up where it exists; its other rows stay.
        observe: told of each search; see `measure_missing`.
        pool: runs them; default one after the other.

    Returns:
        The results. Their report has ``rows``, ``parameters`` (the agreement of the cells' size
        with the table, which costs no search), ``cells``, ``table_accuracy``, ``settings``,
        ``failed``.

    Raises:
        UsageError: a strategy that trains no supernet; see also `Contest.results`.
        NaspError: the file cannot be written.
        Interrupted: Ctrl-C or SIGTERM; finished searches are kept.
    """
    settings, table = contest.settings, contest.table
    for contestant in contest.contestants:
        if not find_strategy(contestant.strategy).iterative:
            raise UsageError(
                f"Strategy '{contestant.strategy}' trains no supernet that could rank cells:"
                " leave it out."
            )
    cells = drawn_cells(table, samples)
    accuracies = [table.accuracies[cell] for cell in cells]
    sizes = parameters(settings.space, cells)
    by_size = agreement(sizes, accuracies, sizes)
    results = contest.results(
        "fidelity",
        {"samples": len(cells), "batches": batches},
        lambda found: _summary(found, cells, table, sizes, by_size),
        path,
    )
    searches = contest.searches()

    def work_of(key: str) -> Work:
        contestant, seed = searches[key]
        job = settings.job(contestant, seed, settings.budget.epochs or 1)
        # The supernet as the search leaves it; who wins a selection is not asked.
        search = job.search.model_copy(update={"select": "none"})
        job = job.model_copy(update={"search": search})
        ranked = SearchRequest(job=job, cells=tuple(cells), batches=batches)
        return contest.work(key, ranked)

    def kept(key: str, sample: SearchSample) -> dict[str, Any]:
        contestant = searches[key][0].model_dump(mode="json")
        return {"contestant": contestant, "sample": sample.model_dump(mode="json")}

    measure_missing(list(searches), work_of, results, observe, pool, kept)
    return results


def drawn_cells(table: AccuracyTable, samples: int) -> list[str]:
    """Return so many cells of a table, uniformly drawn; all of them where there are fewer."""
    cells = sorted(table.accuracies)
    order = torch.randperm(len(cells), generator=torch.Generator().manual_seed(0))
    return [cells[index] for index in order[:samples].tolist()]


def parameters(space: str, cells: Sequence[str]) -> list[float]:
    """Return how many parameters the candidates of each cell have in a small network."""
    named = find_space(space)
    supernet = Supernet(named.supernet(NetworkConfig(channels=4, cells=1)))
    rows = [row.tolist() for counts in parameter_counts(supernet).values() for row in counts]
    paths = (supernet.path(named.parse(cell)) for cell in cells)
    return [
        sum(row[k] for row, k in zip(rows, path, strict=True) if k is not None) for path in paths
    ]


def agreement(
    scores: Sequence[float | None], table: Sequence[float], sizes: Sequence[float]
) -> Agreement:
    """Return how well accuracies under shared weights, or any other scores, rank cells.

    Args:
        scores: of each cell; None, where its loss was not finite, is the worst.
        table: of each cell, per cent.
        sizes: of each cell, parameters.
    """
    known = [-math.inf if score is None else score for score in scores]
    middle = statistics.median(table)
    upper = [i for i, accuracy in enumerate(table) if accuracy > middle]
    first = max(range(len(known)), key=known.__getitem__)
    tau, p = kendall(known, table)
    tau_upper, _ = kendall([known[i] for i in upper], [table[i] for i in upper])
    return Agreement(tau, p, tau_upper, _alike(known, table, sizes), table[first])


def _alike(scores: Sequence[float], table: Sequence[float], sizes: Sequence[float]) -> float:
    signs = [
        ((scores[i] > scores[j]) - (scores[i] < scores[j])) * (1 if table[i] > table[j] else -1)
        for i, j in combinations(range(len(table)), 2)
        if sizes[i] == sizes[j] and table[i] != table[j]
    ]
    return sum(signs) / len(signs) if signs else 0.0


def kendall(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Return Kendall's τ-b, which heeds ties, and its two-sided p.

    It is exact for up to 33 values without ties, else of the normal approximation. Where one of
    the two has a single value, nothing is ranked: 0 and 1.
    """
    if len(set(first)) < 2 or len(set(second)) < 2:
        return 0.0, 1.0
    found = stats.kendalltau(first, second)
    return float(found.statistic), float(found.pvalue)


def _summary(
    found: Measurements,
    cells: Sequence[str],
    table: AccuracyTable,
    sizes: Sequence[float],
    by_size: Agreement,
) -> dict[str, Any]:
    accuracies = [table.accuracies[cell] for cell in cells]

    def over(scores: Sequence[Sequence[float | None]]) -> dict[str, Any]:
        found = [agreement(each, accuracies, sizes) for each in scores]
        means = {name: over_seeds([getattr(each, name) for each in found]) for name in MEANS}
        return {**means, "p": [each.p for each in found]}

    rows = []
    for head, searches in by_contestant(found):
        samples = [search["sample"] for search in searches]
        shared = [sample["shared"] for sample in samples]
        scored = [sample.get("scored") for sample in samples]
        rows.append(
            {
                **head,
                **over(shared),
                "by_scores": over(scored) if all(scored) else None,
                "seconds": statistics.fmean(sample["total"]["wall"] for sample in samples),
                "ranking_seconds": statistics.fmean(_ranking_seconds(s) for s in samples),
                "shared": shared,
                "scored": scored,
                "agreement": [sample.get("agreement") for sample in samples],
            }
        )
    return {
        "rows": rows,
        "parameters": by_size._asdict(),
        "cells": list(cells),
        "table_accuracy": accuracies,
        "table": {"name": table.name, "cells": len(table.accuracies), "best": table.best},
        "machine": next(iter(machines(found)), None),
    }


def _ranking_seconds(sample: Mapping[str, Any]) -> float:
    ranking = sample["phases"][-1]
    return float(ranking["ends"][-1]["wall"] - ranking["begun"]["wall"])
