"""``nasp bench fidelity``: whether the supernet knows which cells are good.

Kendall's rank correlation between what cells reach with the weights that a search leaves and what
they reach when trained alone, over cells drawn uniformly from the table.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from scipy import stats

from nasp.bench.contests.contender import Contender, check_same
from nasp.bench.contests.fidelity_run import FidelityRequest, FidelitySample, run
from nasp.bench.contests.quality_settings import QualitySettings
from nasp.bench.harness import measure_missing
from nasp.bench.process import in_fresh_process
from nasp.bench.results import Measurements, Results
from nasp.bench.seeds import over_seeds
from nasp.bench.truth.truth import Truth
from nasp.complexity import parameter_counts
from nasp.errors import UsageError
from nasp.runs.interruption import Interruption
from nasp.spaces import find_space
from nasp.spaces.space import NetworkConfig
from nasp.strategies import find_strategy
from nasp.supernet.supernet import Supernet
from nasp.training.events import Observer

DEFAULT_STRATEGIES = ("nasp", "random-sharing")
"""The method, and the supernet that every cell had an equal part in."""
SEED = ", seed "


class Agreement(NamedTuple):
    """How well a supernet's weights rank cells.

    Attributes:
        kendall: τ-b over all cells.
        p: two-sided, of the test that it is 0.
        kendall_upper: τ-b over those above the table's median.
        picked: accuracy in the table of the cell that the shared weights put first, per cent.
    """

    kendall: float
    p: float
    kendall_upper: float
    picked: float


def measure_fidelity(
    settings: QualitySettings,
    contenders: Sequence[Contender],
    seeds: Sequence[int],
    samples: int,
    batches: int | None,
    truth: Truth,
    path: Path | None,
    observe: Observer,
) -> Results:
    """Search with every contender and seed, and rank cells with the weights that it leaves.

    Args:
        settings: what they have alike; the budget is in epochs.
        contenders: of strategies that train a supernet.
        seeds: one search each.
        samples: cells, drawn uniformly, the same for all; all of a space that has fewer.
        batches: of the alphas' half, on which each cell is measured; None for all.
        truth: the table.
        path: the results' file, which is taken up where it exists; its other rows stay.
        observe: told before each search.

    Returns:
        The results. Their report has ``rows``, ``parameters`` (the agreement of the cells' size
        with the table, which costs no search), ``cells``, ``truth``, ``settings``, ``failed``.

    Raises:
        UsageError: a setting does not fit, or the file has other settings.
        NaspError: the file cannot be written.
        Interrupted: Ctrl-C or SIGTERM; finished searches are kept.
    """
    cells = drawn_cells(truth, samples)
    by_label = {contender.label: contender for contender in contenders}
    for contender in contenders:
        if not find_strategy(contender.strategy).iterative:
            raise UsageError(
                f"Strategy '{contender.strategy}' trains no supernet that could rank cells:"
                " leave it out."
            )
        settings.job(contender, 0, 1, 0)
    shared = {**settings.shared(), "table": truth.digest, "samples": len(cells), "batches": batches}
    by_size = agreement(
        parameters(settings.space, cells), [truth.accuracies[cell] for cell in cells]
    )
    results = Results(
        path, "fidelity", shared, lambda found: _summary(found, cells, truth, by_size)
    )
    check_same(results, contenders)

    def measure(key: str, interruption: Interruption) -> dict[str, Any]:
        label, _, seed = key.rpartition(SEED)
        job = settings.job(by_label[label], int(seed), settings.budget.epochs or 1, 0)
        # The supernet as the search leaves it; who wins a selection is not asked.
        search = job.search.model_copy(update={"select": "none"})
        request = FidelityRequest(
            job=job.model_copy(update={"search": search}),
            cells=cells,
            batches=batches,
            threads=settings.threads,
        )
        sample = _in_process(request, interruption)
        contender = by_label[label].model_dump(mode="json")
        return {"contender": contender, "sample": sample.model_dump(mode="json")}

    keys = [f"{contender.label}{SEED}{seed}" for seed in seeds for contender in contenders]
    measure_missing(keys, measure, results, observe, alike=lambda key: key.rpartition(SEED)[0])
    return results


def drawn_cells(truth: Truth, samples: int) -> list[str]:
    """Return so many cells of a table, uniformly drawn; all of them where there are fewer."""
    cells = sorted(truth.accuracies)
    order = torch.randperm(len(cells), generator=torch.Generator().manual_seed(0))
    return [cells[index] for index in order[:samples].tolist()]


def parameters(space: str, cells: Sequence[str]) -> list[float]:
    """Return how many parameters the candidates of each cell have in a small network."""
    named = find_space(space)
    supernet = Supernet(named.supernet(NetworkConfig(channels=4, cells=1)))
    counts = parameter_counts(supernet)
    paths = (supernet.path(named.parse(cell)) for cell in cells)
    return [sum(float((counts[n] * p).sum()) for n, p in path.items()) for path in paths]


def agreement(shared: Sequence[float | None], table: Sequence[float]) -> Agreement:
    """Return how well accuracies under shared weights, or any other scores, rank cells.

    Args:
        shared: of each cell; None, where its loss was not finite, is the worst.
        table: of each cell, per cent.
    """
    known = [-1.0 if accuracy is None else accuracy for accuracy in shared]
    middle = statistics.median(table)
    upper = [i for i, accuracy in enumerate(table) if accuracy > middle]
    first = max(range(len(known)), key=known.__getitem__)
    tau, p = kendall(known, table)
    tau_upper, _ = kendall([known[i] for i in upper], [table[i] for i in upper])
    return Agreement(tau, p, tau_upper, table[first])


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
    found: Measurements, cells: Sequence[str], truth: Truth, by_size: Agreement
) -> dict[str, Any]:
    table = [truth.accuracies[cell] for cell in cells]
    by_label: dict[str, dict[int, Any]] = {}
    for key, value in found.items():
        label, _, seed = key.rpartition(SEED)
        by_label.setdefault(label, {})[int(seed)] = value
    rows = []
    for label, searches in by_label.items():
        seeds = sorted(searches)
        samples = [searches[seed]["sample"] for seed in seeds]
        agreements = [agreement(sample["shared"], table) for sample in samples]
        rows.append(
            {
                "name": label,
                **{k: v for k, v in searches[seeds[0]]["contender"].items() if k != "label"},
                "seeds": seeds,
                **{
                    name: over_seeds([getattr(found, name) for found in agreements])
                    for name in ("kendall", "kendall_upper", "picked")
                },
                "p": [found.p for found in agreements],
                "seconds": statistics.fmean(sample["search_seconds"] for sample in samples),
                "ranking_seconds": statistics.fmean(s["ranking_seconds"] for s in samples),
                "shared": [sample["shared"] for sample in samples],
            }
        )
    first = next(iter(found.values()), None)
    return {
        "rows": rows,
        "parameters": by_size._asdict(),
        "cells": list(cells),
        "truth": table,
        "table": {"name": truth.name, "cells": len(truth.accuracies), "best": truth.best},
        "machine": first and first["sample"]["machine"],
    }


def _in_process(request: FidelityRequest, interruption: Interruption) -> FidelitySample:
    advice = "the same command tries it again"
    return in_fresh_process(run, request, interruption, advice, request.threads)
