"""What a selection ends with: every architecture that took part, the winner first."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from nasp.bilevel.selection.config import Selecting
from nasp.bilevel.selection.halving import Rung, margin
from nasp.supernet.architecture import Architecture
from nasp.training.task import Metrics


@dataclass(frozen=True)
class Contender:
    """One architecture and what was measured of it, on validation batches.

    Attributes:
        architecture: the contender.
        visits: steps of the search's second half in which it was the current one.
        epochs: of the search, at whose end it was the current one.
        shared: metrics under the supernet's weights, with ``score``; None where not measured.
        rungs: metrics at the end of each rung that it trained in, with ``score``.
        stands: whether it is only beaten by more than chance, see `margin`.
    """

    architecture: Architecture
    visits: int = 0
    epochs: tuple[int, ...] = ()
    shared: Metrics | None = None
    rungs: tuple[Metrics, ...] = ()
    stands: bool = False

    @property
    def rank(self) -> tuple[float, ...]:
        """Larger is better: how far it came, then how it did there, then under shared weights."""
        last = self.rungs[-1]["score"] if self.rungs else 0.0
        last += margin(self.rungs[-1]) if self.rungs and self.stands else 0.0
        shared = self.shared["score"] if self.shared else 0.0
        return len(self.rungs), last, shared


@dataclass(frozen=True)
class Selection:
    """A finished selection.

    Attributes:
        mode: ``"rerank"`` or ``"train"``.
        schedule: the rungs of the stand-alone training; empty without it.
        contenders: best first.
        weights: of the winner after its stand-alone training; None without one.
    """

    mode: Selecting
    schedule: tuple[Rung, ...]
    contenders: tuple[Contender, ...]
    weights: Mapping[str, Tensor] | None = field(default=None, repr=False, compare=False)

    @property
    def winner(self) -> Architecture:
        """The result."""
        return self.contenders[0].architecture

    def as_dict(self) -> dict[str, Any]:
        """Return the table as plain values, as ``selection.json`` holds it."""
        return {
            "mode": self.mode,
            "schedule": [rung._asdict() for rung in self.schedule],
            "contenders": [_plain(contender) for contender in self.contenders],
        }


def _plain(contender: Contender) -> dict[str, Any]:
    return {
        "edges": dict(contender.architecture.edges),
        "visits": contender.visits,
        "epochs": list(contender.epochs),
        "shared": None if contender.shared is None else _finite(contender.shared),
        "rungs": [_finite(metrics) for metrics in contender.rungs],
        "stands": contender.stands,
    }


def _finite(metrics: Metrics) -> dict[str, float | None]:
    # JSON has no infinity, which is the score of a network that diverged.
    return {name: value if math.isfinite(value) else None for name, value in metrics.items()}
