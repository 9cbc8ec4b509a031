"""``nasp bench quality``: what strategies find in a space whose every cell's accuracy is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nasp.bench.contests.calibration import (
    CalibrationRequest,
    is_calibrated,
    run_calibration,
)
from nasp.bench.contests.contest import Contest
from nasp.bench.contests.contestant import Contestant
from nasp.bench.contests.quality_rows import summary
from nasp.bench.contests.search import SearchRequest, SearchSample
from nasp.bench.harness import measure_missing
from nasp.bench.results import Results
from nasp.runs.pool import Pool, Work
from nasp.strategies import find_strategy
from nasp.training.events import Observer

DEFAULT_STRATEGIES = ("nasp", "darts", "random-sharing", "random")
"""Who is compared where nothing is said: the method, its best known rival, and two controls."""


def measure_quality(
    contest: Contest,
    reference: str | None,
    path: Path | None,
    observe: Observer,
    pool: Pool | None = None,
) -> Results:
    """Run every contestant with every seed, but for what the file has already.

    Args:
        contest: who, where, how often.
        reference: label of the one that all others are compared with, where it takes part.
        path: the results' file, which is taken up where it exists; its other rows stay.
        observe: told of each search; see `measure_missing`.
        pool: runs the searches; what calibrates them runs alone. Default one after the other.

    Returns:
        The results. Their report has ``rows``, ``comparisons``, ``calibration``, ``table``,
        ``machine``, ``settings``, ``failed``.

    Raises:
        UsageError: see `Contest.results`.
        NaspError: the file cannot be written.
        Interrupted: Ctrl-C or SIGTERM; finished searches are kept.
    """
    settings, budget = contest.settings, contest.settings.budget
    results = contest.results("quality", {}, lambda f: summary(f, contest.table, reference), path)
    searches = contest.searches()
    calibrations: dict[str, Contestant] = {}
    if budget.seconds is not None:
        calibrations = {_calibration(c): c for c in contest.contestants if is_calibrated(c)}

    def calibration(key: str) -> Work:
        request = CalibrationRequest(
            contestant=calibrations[key], settings=settings, seconds=budget.seconds or 0.0
        )
        return Work(key, run_calibration, request, fresh=True, threads=settings.threads)

    def epochs_of(contestant: Contestant) -> tuple[int, int]:
        length = results.measurements.get(_calibration(contestant), {})
        return length.get("epochs", budget.epochs or 1), length.get("selection_epochs", 0)

    def search(key: str) -> Work:
        contestant, seed = searches[key]
        job = settings.job(contestant, seed, *epochs_of(contestant))
        return contest.work(key, SearchRequest(job=job))

    def calibrated(key: str, length: dict[str, Any]) -> dict[str, Any]:
        return {"contestant": calibrations[key].model_dump(mode="json"), **length}

    def found(key: str, sample: SearchSample) -> dict[str, Any]:
        contestant, _ = searches[key]
        is_iterative = find_strategy(contestant.strategy).iterative
        return {
            "contestant": contestant.model_dump(mode="json"),
            "epochs": epochs_of(contestant)[0] if is_iterative else 0,
            "sample": sample.model_dump(mode="json"),
        }

    measure_missing(list(calibrations), calibration, results, observe, pool, calibrated, at_once=1)
    possible = [k for k, (who, _) in searches.items() if _calibration(who) not in results.failed]
    measure_missing(possible, search, results, observe, pool, found)
    return results


def _calibration(contestant: Contestant) -> str:
    return f"calibration, {contestant.label}"
