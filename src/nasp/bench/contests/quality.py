"""``nasp bench quality``: what strategies find in a space whose every cell's accuracy is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nasp.bench.contests.calibration import calibrate, is_calibrated
from nasp.bench.contests.contest import Contest
from nasp.bench.contests.contestant import Contestant
from nasp.bench.contests.quality_rows import summary
from nasp.bench.contests.search import SearchRequest, SearchSample
from nasp.bench.harness import measure_missing
from nasp.bench.results import Results
from nasp.runs.interruption import Interruption
from nasp.strategies import find_strategy
from nasp.training.events import Observer

DEFAULT_STRATEGIES = ("nasp", "darts", "random-sharing", "random")
"""Who is compared where nothing is said: the method, its best known rival, and two controls."""


def measure_quality(
    contest: Contest, reference: str | None, path: Path | None, observe: Observer
) -> Results:
    """Run every contestant with every seed, but for what the file has already.

    Args:
        contest: who, where, how often.
        reference: label of the one that all others are compared with, where it takes part.
        path: the results' file, which is taken up where it exists; its other rows stay.
        observe: told before each search.

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

    def measure(key: str, interruption: Interruption) -> dict[str, Any]:
        def search(request: SearchRequest) -> SearchSample:
            return contest.search(request, interruption)

        if key in calibrations:
            contestant, seconds = calibrations[key], budget.seconds or 0.0
            value = calibrate(contestant, settings, seconds, search)
        else:
            contestant, seed = searches[key]
            length = results.measurements.get(_calibration(contestant), {})
            epochs = length.get("epochs", budget.epochs or 1)
            job = settings.job(contestant, seed, epochs, length.get("selection_epochs", 0))
            sample = search(SearchRequest(job=job)).model_dump(mode="json")
            is_iterative = find_strategy(contestant.strategy).iterative
            value = {"epochs": epochs if is_iterative else 0, "sample": sample}
        return {"contestant": contestant.model_dump(mode="json"), **value}

    measure_missing(
        [*calibrations, *searches],
        measure,
        results,
        observe,
        is_lost=lambda key: key in searches and _calibration(searches[key][0]) in results.failed,
    )
    return results


def _calibration(contestant: Contestant) -> str:
    return f"calibration, {contestant.label}"
