"""``nasp bench quality``: what strategies find in a space whose every cell's accuracy is known.

All contenders have the same initial weights, halves of the data and batches for a seed, and the
same budget. Each search runs in a fresh process; the seeds are the outer loop, so that a machine
which becomes busy hits all contenders alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nasp.bench.contests.budget import Cost, cost_of
from nasp.bench.contests.contender import Contender, check_same
from nasp.bench.contests.quality_rows import summary
from nasp.bench.contests.quality_settings import QualitySettings
from nasp.bench.contests.searching import SearchRequest, SearchSample, run
from nasp.bench.harness import measure_missing
from nasp.bench.process import in_fresh_process
from nasp.bench.results import Results
from nasp.bench.truth.truth import Truth
from nasp.runs.interruption import Interruption
from nasp.strategies import find_strategy
from nasp.training.events import Observer

DEFAULT_STRATEGIES = ("nasp", "darts", "random-sharing", "random")
"""Who is compared where nothing is said: the method, its best known rival, and two controls."""
SEED = ", seed "
CALIBRATION = ", calibration"
FIRST_EPOCHS = 8
"""Epochs of the first calibration, each on as small a share of the data."""


def measure_quality(
    settings: QualitySettings,
    contenders: Sequence[Contender],
    seeds: Sequence[int],
    truth: Truth,
    reference: str | None,
    path: Path | None,
    observe: Observer,
) -> Results:
    """Run every contender with every seed, but for what the file has already.

    Args:
        settings: what they have alike.
        contenders: in the order in which they take turns.
        seeds: one search each.
        truth: the table.
        reference: label of the one that all others are compared with, where it takes part.
        path: the results' file, which is taken up where it exists; its other rows stay.
        observe: told before each search.

    Returns:
        The results. Their report has ``rows``, ``comparisons``, ``calibration``, ``table``,
        ``machine``, ``settings``, ``failed``.

    Raises:
        UsageError: a setting does not fit; the file has other settings, or a contender of the
            same label and other settings.
        NaspError: the file cannot be written.
        Interrupted: Ctrl-C or SIGTERM; finished searches are kept.
    """
    by_label = {contender.label: contender for contender in contenders}
    for contender in contenders:  # all of them, before an hour is spent on the first
        settings.job(contender, 0, 1, 0)
    shared = {**settings.shared(), "table": truth.digest}
    results = Results(path, "quality", shared, lambda found: summary(found, truth, reference))
    check_same(results, contenders)
    keys = [f"{c.label}{SEED}{seed}" for seed in seeds for c in contenders]
    if settings.budget.seconds is not None:
        keys = [f"{c.label}{CALIBRATION}" for c in contenders if _is_calibrated(c)] + keys

    def measure(key: str, interruption: Interruption) -> dict[str, Any]:
        contender = by_label[_label(key)]
        if key.endswith(CALIBRATION):
            value = _calibrate(contender, settings, interruption)
        else:
            seed = int(key.rpartition(SEED)[2])
            value = _search(contender, seed, settings, results.measurements, interruption)
        return {"contender": contender.model_dump(mode="json"), **value}

    measure_missing(
        keys,
        measure,
        results,
        observe,
        alike=lambda key: CALIBRATION if key.endswith(CALIBRATION) else _label(key),
        is_lost=lambda key: f"{_label(key)}{CALIBRATION}" in results.failed,
    )
    return results


def _search(
    contender: Contender,
    seed: int,
    settings: QualitySettings,
    measurements: Mapping[str, Any],
    interruption: Interruption,
) -> dict[str, Any]:
    epochs, selection_epochs = settings.budget.epochs or 1, 0
    if settings.budget.seconds is not None and _is_calibrated(contender):
        calibrated = measurements[f"{contender.label}{CALIBRATION}"]
        epochs, selection_epochs = calibrated["epochs"], calibrated["selection_epochs"]
    job = settings.job(contender, seed, epochs, selection_epochs)
    sample = _in_process(SearchRequest(job=job, threads=settings.threads), interruption)
    searched = epochs if find_strategy(contender.strategy).iterative else 0
    return {"epochs": searched, "sample": sample.model_dump(mode="json")}


def _calibrate(
    contender: Contender, settings: QualitySettings, interruption: Interruption
) -> dict[str, Any]:
    """Return how many epochs fit in the budget.

    First a few epochs on a share of the data tell roughly how many; then so many, so that
    schedules have about the length that they will have, on a share as small as they are many.
    """
    budget = settings.budget
    assert budget.seconds is not None
    iterative = find_strategy(contender.strategy).iterative
    epochs = FIRST_EPOCHS if iterative else 1
    costs: list[Cost] = []
    for _ in range(2 if iterative else 1):
        job = settings.job(contender, 0, epochs, 0)
        request = SearchRequest(
            job=job, share=1 / max(epochs, FIRST_EPOCHS), threads=settings.threads
        )
        sample = _in_process(request, interruption)
        costs.append(cost_of(sample, budget.clock, job.search, iterative))
        if iterative:
            epochs = costs[-1].search_epochs(budget.seconds)
    selection_epochs = 0
    if not iterative:
        least = 2 * job.search.selection.first_rung
        selection_epochs = max(least, costs[-1].training_epochs(budget.seconds))
    return {
        "epochs": epochs,
        "selection_epochs": selection_epochs,
        "costs": [cost.model_dump() for cost in costs],
    }


def _is_calibrated(contender: Contender) -> bool:
    """Tell whether a contender has anything that can be made longer or shorter."""
    iterative = find_strategy(contender.strategy).iterative
    return iterative or contender.search.get("select") == "train"


def _in_process(request: SearchRequest, interruption: Interruption) -> SearchSample:
    advice = "the same command tries it again"
    return in_fresh_process(run, request, interruption, advice, request.threads)


def _label(key: str) -> str:
    return key.removesuffix(CALIBRATION).rpartition(SEED)[0] or key.removesuffix(CALIBRATION)
