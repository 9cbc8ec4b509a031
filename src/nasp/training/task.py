"""What a network is for: a loss, and the figures that people read beside it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from nasp.supernet.copies import copied

Batch = Any
Metrics = dict[str, float]


@runtime_checkable
class Task(Protocol):
    """A task turns a batch into a mean loss and detached scalar metrics."""

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the batch's mean loss (scalar, with graph) and named scalars (detached)."""
        ...


TaskType = TypeVar("TaskType", bound=Task)


class Figure(NamedTuple):
    """The figure by which trained networks are compared.

    Attributes:
        name: one of those that `Task.loss` or `MeasuredTask.evaluate` returns.
        higher_is_better: which way.
    """

    name: str
    higher_is_better: bool


ACCURACY = Figure("accuracy", higher_is_better=True)


@runtime_checkable
class Figured(Protocol):
    """What a task adds that says by which figure networks are compared."""

    @property
    def figure(self) -> Figure:
        """The figure that counts."""
        ...


@runtime_checkable
class Evaluates(Protocol):
    """What a task adds that measures networks in a way of its own."""

    def evaluate(
        self, network: nn.Module, loader: Iterable[Batch], device: torch.device | str = "cpu"
    ) -> dict[str, float]:
        """Return figures over all batches, in evaluation mode, without gradients."""
        ...


class MeasuredTask(Task, Figured, Evaluates, Protocol):
    """A task that can also say how good a trained network is."""


@runtime_checkable
class Paced(Protocol):
    """What a task adds whose batches are not all of one length."""

    def pace(self, batch: Batch) -> float:
        """Return how far a weight step on this batch goes, in units of the learning rate."""
        ...


@runtime_checkable
class Remembers(Protocol):
    """What a task adds that leaves something in its batches for the next one."""

    def memory(self, batch: Batch) -> Tensor:
        """Return the tensor of the batch where a pass leaves it; NaN until then."""
        ...


class Splits(Task, Protocol):
    """What a task adds that knows how to split its batches, for ``accumulate`` above 1."""

    def split(self, batch: Batch, parts: int) -> Iterable[tuple[Batch, float]]:
        """Return parts of a batch, each with its share of the loss; the shares add up to 1."""
        ...


@runtime_checkable
class Static(Protocol):
    """What a task adds whose loss follows from network and batch alone, by the same operations."""

    @property
    def is_static(self) -> bool:
        """Says so; there is no other answer."""
        ...


def module_of(task: object) -> nn.Module | None:
    """Return what a task has of weights and buffers of its own: itself, or its attribute `module`.

    They are trained with the network's weights.
    """
    found = task if isinstance(task, nn.Module) else getattr(task, "module", None)
    return found if isinstance(found, nn.Module) else None


def detached(task: TaskType) -> TaskType:
    """Return the task with weights of its own that nobody else moves."""
    return task if module_of(task) is None else copied(task)


def score(task: Task, metrics: Metrics) -> float:
    """Return how good a network is on a task; larger is better.

    By the task's figure where it has one, else by ``accuracy``; by the negative loss where that is
    not among the metrics.

    Args:
        task: the task.
        metrics: means of ``loss`` and of what `Task.loss` returned beside it.
    """
    figure = scored_by(task, metrics)
    return metrics[figure.name] if figure.higher_is_better else -metrics[figure.name]


def scored_by(task: Task, metrics: Metrics) -> Figure:
    """Return the metric that is a network's `score`; the arguments are those of that."""
    figure = task.figure if isinstance(task, Figured) else ACCURACY
    return figure if figure.name in metrics else Figure("loss", higher_is_better=False)
