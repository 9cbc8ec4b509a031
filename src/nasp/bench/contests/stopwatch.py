"""When everything in a search happened.

What is timed begins where data and network are built and read, with the first step's preparation.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field

from nasp.bench.steps.memory import PeakMemory
from nasp.training.events import EpochEnded, Event, Observer, Started, Stepped, nobody

SEARCH = "epoch"
"""The phase of the search itself, as its loop calls it."""
TRAINING = "selection epoch"
"""The phase of a selection in which networks are trained."""


class Seconds(BaseModel):
    """A time by both clocks: the wall's, and what the process's threads spent on a processor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wall: float
    cpu: float

    def __sub__(self, other: Seconds) -> Seconds:
        return Seconds(wall=self.wall - other.wall, cpu=self.cpu - other.cpu)


class Phase(BaseModel):
    """One loop: the search, or a part of its selection.

    Attributes:
        name: what an epoch of it is called.
        begun: when, since the start.
        ends: of each epoch, since the start.
        steps: mean seconds of a step of each epoch without its first; of that where it is alone.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    begun: Seconds
    ends: list[Seconds] = Field(default_factory=list)
    steps: list[Seconds] = Field(default_factory=list)


class Stopwatch:
    """An observer that notes when everything happened; it starts with the first loop.

    Args:
        begin: called at the start; what it returns is kept as `memory`.
        observe: is told of the loops, too.
    """

    def __init__(self, begin: Callable[[], PeakMemory], observe: Observer = nobody) -> None:
        self.begin = begin
        self.observe = observe
        self.memory: PeakMemory | None = None
        self.derived: list[dict[str, str | None]] = []
        self.phases: list[Phase] = []
        self._start = Seconds(wall=0.0, cpu=0.0)
        self._steps: list[Seconds] = []

    def now(self) -> Seconds:
        """Return the time since the start."""
        return Seconds(wall=time.perf_counter(), cpu=time.process_time()) - self._start

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case Started():
                if self.memory is None:
                    self.memory = self.begin()
                    self._start = self.now()
                self.phases.append(Phase(name=event.phase, begun=self.now()))
                self._steps = []
            case Stepped():
                self._steps.append(self.now())
            case EpochEnded(architecture=architecture):
                phase = self.phases[-1]
                phase.steps.append(_step(self._steps, [phase.begun, *phase.ends][-1]))
                phase.ends.append(self.now())
                self._steps = []
                if phase.name == SEARCH and architecture is not None:
                    self.derived.append(dict(architecture.edges))
        if isinstance(event, Started | Stepped | EpochEnded):
            self.observe(event)


def _step(ends: list[Seconds], begun: Seconds) -> Seconds:
    """Return the mean of all steps but the first, from when each ended."""
    marks = ends if len(ends) > 1 else [begun, *ends]
    span, count = marks[-1] - marks[0], max(1, len(marks) - 1)
    return Seconds(wall=span.wall / count, cpu=span.cpu / count)
