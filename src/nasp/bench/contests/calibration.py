"""How many epochs fit in a time: measured once for each contestant, on a share of the data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from nasp.bench.contests.contestant import Contestant
from nasp.bench.contests.search import SearchRequest, SearchSample, run_search
from nasp.bench.contests.settings import ContestSettings
from nasp.bench.contests.stopwatch import TRAINING, Phase
from nasp.bilevel.settings import SearchConfig
from nasp.runs.clock import Clock
from nasp.runs.pool import Workplace
from nasp.strategies import find_strategy

FIRST_EPOCHS = 8
"""Epochs of the first calibration, each on as small a share of the data."""
MOST_PASSES = 4
"""Each as long as the one before found that the search can be."""


class Cost(BaseModel):
    """What a contestant takes by one clock, in seconds, from a calibration.

    Attributes:
        epochs: in the calibration.
        search: of these epochs on all the data.
        ranking: of the selection before its stand-alone training; 0 without a selection.
        selection_epoch: of an epoch of that training.
        selection_epochs: that the contestant's own settings ask for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int
    search: float
    ranking: float = 0.0
    selection_epoch: float = 0.0
    selection_epochs: int = 0

    def search_epochs(self, seconds: float) -> int:
        """Return how many epochs of the search leave the selection its time; at least 1."""
        left = seconds - self.ranking - self.selection_epochs * self.selection_epoch
        return max(1, _whole(left * self.epochs / self.search))

    def training_epochs(self, seconds: float) -> int:
        """Return how many epochs of stand-alone training fit, where the search has no epochs."""
        if self.selection_epoch == 0:
            return self.selection_epochs
        return _whole((seconds - self.search - self.ranking) / self.selection_epoch)


def is_calibrated(contestant: Contestant) -> bool:
    """Tell whether a contestant has anything that can be made longer or shorter."""
    iterative = find_strategy(contestant.strategy).iterative
    return iterative or contestant.search.get("select") == "train"


class CalibrationRequest(BaseModel):
    """What is calibrated, see `calibrate`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    contestant: Contestant
    settings: ContestSettings
    seconds: float = Field(gt=0)


def run_calibration(request: CalibrationRequest, at: Workplace) -> dict[str, Any]:
    """Calibrate in this process, in which no other search is to have run."""

    def search(asked: SearchRequest) -> SearchSample:
        return run_search(asked, at)

    return calibrate(request.contestant, request.settings, request.seconds, search)


def calibrate(
    contestant: Contestant,
    settings: ContestSettings,
    seconds: float,
    search: Callable[[SearchRequest], SearchSample],
) -> dict[str, Any]:
    """Return how many epochs of search, or else of selection, fit in so many seconds.

    First a few epochs on a share of the data tell roughly how many; then so many, so that
    schedules have about the length that they will have, on a share as small as they are many; and
    again, since a step of a longer search may be cheaper, as NASP's is.

    Args:
        contestant: whose search.
        settings: of the contest.
        seconds: of search and selection together, by the budget's clock.
        search: runs it.
    """
    iterative = find_strategy(contestant.strategy).iterative
    epochs, selection_epochs = FIRST_EPOCHS if iterative else 1, 0
    costs: list[Cost] = []
    for _ in range(MOST_PASSES if iterative else 1):
        asked = epochs
        job = settings.job(contestant, seed=0, epochs=epochs)
        sample = search(SearchRequest(job=job, share=1 / max(epochs, FIRST_EPOCHS)))
        costs.append(cost_of(sample, settings.budget.clock, job.search, iterative))
        if iterative:
            epochs = costs[-1].search_epochs(seconds)
            if epochs == asked:
                break
        else:
            least = 2 * job.search.selection.first_rung
            selection_epochs = max(least, costs[-1].training_epochs(seconds))
    return {
        "epochs": epochs,
        "selection_epochs": selection_epochs,
        "costs": [cost.model_dump() for cost in costs],
    }


def cost_of(sample: SearchSample, clock: Clock, config: SearchConfig, iterative: bool) -> Cost:
    """Return what a search would take on all the data, from one on a share of them.

    Args:
        sample: of a calibration.
        clock: which seconds.
        config: of the search.
        iterative: whether the search goes over the data at all.
    """
    settings = config.selection
    search, *selection = sample.phases
    steps = [getattr(step, clock) for step in search.steps]
    searching = sum(steps) * sample.full_steps_per_epoch
    ratio = sample.full_batches / sample.batches
    end = getattr(sample.total, clock)
    searched = getattr(search.ends[-1], clock)
    training = next((phase for phase in selection if phase.name == TRAINING), None)
    trained = end if training is None else getattr(training.begun, clock)
    most = settings.rerank_batches or sample.full_batches
    batches = min(most, sample.full_batches) / min(most, sample.batches) if iterative else 1.0
    return Cost(
        epochs=len(search.ends),
        search=searching if iterative else searched,
        ranking=(trained - searched) * batches if sample.selection is not None else 0.0,
        selection_epoch=0.0 if training is None else _epoch(training, end, clock) * ratio,
        selection_epochs=0 if training is None else settings.epochs,
    )


def _whole(number: float) -> int:
    return int(number + 1e-6)  # 24.999... is 25


def _epoch(phase: Phase, end: float, clock: Clock) -> float:
    begun: float = getattr(phase.begun, clock)
    return (end - begun) / len(phase.ends)
