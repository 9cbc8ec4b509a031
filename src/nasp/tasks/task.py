"""What a network is for: a loss, and the figures that people read beside it."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

Batch = Any
Metrics = dict[str, float]


@runtime_checkable
class Task(Protocol):
    """A task turns a batch into a mean loss and detached scalar metrics."""

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the batch's mean loss (scalar, with graph) and named scalars (detached)."""
        ...
