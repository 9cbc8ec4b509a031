"""How long each contender may search: so many epochs, or as many as fit in a time."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from nasp.bench.contests.searching import TRAINING, Phase, SearchSample
from nasp.bilevel.search import SearchConfig
from nasp.runs.clock import Clock


class Budget(BaseModel):
    """What all contenders have alike."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    epochs: int | None = Field(None, ge=1)
    """Epochs of each search; a selection comes on top; default those of a search on these data."""
    seconds: float | None = Field(None, gt=0)
    """Instead of epochs: what search and selection together may take."""
    epoch_steps: int | None = Field(None, ge=1)
    """Steps of an epoch of the search, so that seconds are met finely; default a pass over the
    weights' batches."""
    clock: Clock = "wall"
    """Which seconds: wall, or cpu, the time that the process's threads spent on a processor,
    which other work on the machine hardly moves."""

    @model_validator(mode="after")
    def _is_one(self) -> Budget:
        if (self.epochs is None) == (self.seconds is None):
            raise ValueError("give either epochs or seconds")
        return self


class Cost(BaseModel):
    """What a contender takes by one clock, in seconds, from a calibration.

    Attributes:
        epochs: in the calibration.
        search: of these epochs on all the data.
        ranking: of the selection before its stand-alone training; 0 without a selection.
        selection_epoch: of an epoch of that training.
        selection_epochs: that the contender's own settings ask for.
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
        return max(1, _whole(self.epochs * left / self.search))

    def training_epochs(self, seconds: float) -> int:
        """Return how many epochs of stand-alone training fit, where the search has no epochs."""
        if self.selection_epoch == 0:
            return self.selection_epochs
        return _whole((seconds - self.search - self.ranking) / self.selection_epoch)


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
