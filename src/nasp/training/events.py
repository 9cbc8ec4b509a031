"""What the loops tell whoever watches them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from nasp.supernet.architecture import Architecture


@dataclass(frozen=True)
class Loading:
    """Images are being read, or what is said of them."""

    done: int
    total: int
    what: str = "reading images"


@dataclass(frozen=True)
class Started:
    """A loop begins, or goes on after a stop.

    Attributes:
        epoch: epochs that are done already.
        epochs: epochs in all.
        steps_per_epoch: steps of one epoch.
        step: steps of the current epoch that are done already.
        phase: what an epoch of this loop is called.
        seconds_left: until the time for the steps is over, where it is limited.
    """

    epoch: int
    epochs: int
    steps_per_epoch: int
    step: int = 0
    phase: str = "epoch"
    seconds_left: float | None = None


@dataclass(frozen=True)
class Stepped:
    """One step is done; `means` are the metrics' means over the epoch so far."""

    passes: ClassVar = True
    """The next one says all that this one does: few are told from process to process."""

    epoch: int
    step: int
    means: Mapping[str, float]
    changed_edges: int | None = None
    architecture: Architecture | None = None


@dataclass(frozen=True)
class EpochEnded:
    """An epoch is done and its line is in the metrics.

    Attributes:
        epoch: from 1.
        metrics: its line.
        seconds: of its steps.
        architecture: as it now stands; None in training.
        alphas: edge -> candidate -> alpha; None in training.
    """

    epoch: int
    metrics: Mapping[str, Any]
    seconds: float
    architecture: Architecture | None = None
    alphas: Mapping[str, Mapping[str, float]] | None = None


@dataclass(frozen=True)
class Measuring:
    """A measurement begins.

    Attributes:
        what: is measured.
        done: measurements that are done already; those that have begun beside it count, too.
        total: measurements in all.
        seconds_left: until all are done, estimated; None where nothing is known yet.
        alone: whether it has to end before another begins.
    """

    what: str
    done: int
    total: int
    seconds_left: float | None
    alone: bool = True


@dataclass(frozen=True)
class Measured:
    """A measurement is over.

    Attributes:
        what: was measured.
        done: measurements that are done now.
        total: measurements in all.
        seconds: that it took.
        seconds_left: as of `Measuring`.
        failure: why there is no result, in a sentence; None where there is one.
    """

    what: str
    done: int
    total: int
    seconds: float
    seconds_left: float | None
    failure: str | None = None


@dataclass(frozen=True)
class Within:
    """Something happened in a measurement, in another process."""

    what: str
    event: Event


@dataclass(frozen=True)
class Noted:
    """Something that a person may want to know."""

    message: str


@dataclass(frozen=True)
class Warned:
    """Something a person should know."""

    message: str


Event = Loading | Started | Stepped | EpochEnded | Measuring | Measured | Within | Noted | Warned
Observer = Callable[[Event], object]


def nobody(_: Event) -> None:
    """Watch nothing."""


def elsewhere(what: str, event: Any) -> Event:
    """Return as an event what is told of a work that runs in another process.

    Args:
        what: the work.
        event: of its own, or a sentence about it.
    """
    if isinstance(event, str):
        return Warned(f"{what}: {event}.")
    if isinstance(event, Warned):
        return Warned(f"{what}: {event.message}")
    return Within(what, event)
