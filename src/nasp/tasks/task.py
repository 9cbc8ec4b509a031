"""What a network is for: a loss, and the figures that people read beside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Batch = Any
Metrics = dict[str, float]


@runtime_checkable
class Task(Protocol):
    """A task turns a batch into a mean loss and detached scalar metrics."""

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the batch's mean loss (scalar, with graph) and named scalars (detached)."""
        ...


class Figure(NamedTuple):
    """The figure by which trained networks are compared.

    Attributes:
        name: one of those that `MeasuredTask.evaluate` returns.
        higher_is_better: which way.
    """

    name: str
    higher_is_better: bool


class MeasuredTask(Task, Protocol):
    """A task that can also say how good a trained network is."""

    @property
    def figure(self) -> Figure:
        """The figure that counts."""
        ...

    def evaluate(
        self, network: nn.Module, loader: Iterable[Batch], device: torch.device | str = "cpu"
    ) -> dict[str, float]:
        """Return figures over all batches, in evaluation mode, without gradients."""
        ...


@runtime_checkable
class Paced(Protocol):
    """What a task adds whose batches are not all of one length."""

    def pace(self, batch: Batch) -> float:
        """Return how far a weight step on this batch goes, in units of the learning rate."""
        ...


@runtime_checkable
class Scoring(Protocol):
    """What a task adds where neither accuracy nor loss says which network is the better one."""

    def score(self, metrics: Metrics) -> float:
        """Return how good a network is from its mean ``loss`` and metrics; larger is better."""
        ...


def score(task: Task, metrics: Metrics) -> float:
    """Return how good a network is on a task; larger is better.

    By the task's own `Scoring`, else by ``accuracy``, else by the negative loss.
    """
    if isinstance(task, Scoring):
        return task.score(metrics)
    return metrics["accuracy"] if "accuracy" in metrics else -metrics["loss"]
