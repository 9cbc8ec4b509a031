"""What the loops tell whoever watches them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

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
        done: measurements that are done already.
        total: measurements in all.
        seconds_left: until all are done, estimated; None where nothing is known yet.
    """

    what: str
    done: int
    total: int
    seconds_left: float | None


@dataclass(frozen=True)
class Noted:
    """Something that a person may want to know."""

    message: str


@dataclass(frozen=True)
class Warned:
    """Something a person should know."""

    message: str


Event = Loading | Started | Stepped | EpochEnded | Measuring | Noted | Warned
Observer = Callable[[Event], object]


def nobody(_: Event) -> None:
    """Watch nothing."""
