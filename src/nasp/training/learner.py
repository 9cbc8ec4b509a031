"""Gradients and weight steps of one network on one task: device, precision, accumulation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nasp.errors import NaspError, UsageError
from nasp.training.task import Batch, Metrics, Paced, Task


class NotFiniteError(NaspError):
    """A loss or a gradient is not finite: the training diverged, or the data are invalid."""


class Learner:
    """What a strategy, or the training of a derived network, takes its steps with.

    Args:
        fabric: device and precision (Lightning Fabric).
        network: the supernet or the derived network; moved to the device.
        task: turns a batch into a loss.
        weights: the parameters that weight steps move.
        optimizer: makes the weights' optimiser from them.
        clip: largest norm of the weights' gradient; None leaves it as it is.
        accumulate: into how many parts a batch is split, one after the other; default 1.
    """

    def __init__(
        self,
        fabric: Fabric,
        network: nn.Module,
        task: Task,
        weights: Sequence[nn.Parameter],
        optimizer: Callable[[Sequence[nn.Parameter]], torch.optim.Optimizer],
        clip: float | None = 5.0,
        accumulate: int = 1,
    ) -> None:
        self.fabric = fabric
        self.task = task
        self.weights = list(weights)
        self.clip = clip
        self.accumulate = accumulate
        self.network = fabric.setup_module(network)
        self.optimizer = optimizer(self.weights)
        self._stepper: Any = fabric.setup_optimizers(self.optimizer)

    def gradients(
        self,
        batch: Batch,
        inputs: Sequence[Tensor],
        penalty: Callable[[], Tensor] | None = None,
    ) -> Metrics:
        """Add the gradient of the batch's mean loss to the ``.grad`` of `inputs`, and no other.

        Args:
            batch: split into `accumulate` parts of equal size.
            inputs: leaves of the graph.
            penalty: a term that is added to the loss once.

        Returns:
            The loss (without the penalty) and the task's metrics, means over the batch.

        Raises:
            NotFiniteError: the loss is not finite.
        """
        parts = split_batch(self.fabric.to_device(batch), self.accumulate)
        totals: Metrics = {}
        for index, (part, share) in enumerate(parts):
            loss, metrics = self.task.loss(self.network, part)
            for name, value in {"loss": loss.detach(), **metrics}.items():
                totals[name] = totals.get(name, 0.0) + share * float(value)
            if not math.isfinite(totals["loss"]):
                raise NotFiniteError(
                    f"The loss became {totals['loss']}: lower the learning rate, check the data"
                    " for invalid values, or use precision 32-true; the run resumes from its last"
                    " checkpoint."
                )
            objective = loss * share
            if index == 0 and penalty is not None:
                objective = objective + penalty()
            if objective.requires_grad:
                self.fabric.backward(objective, inputs=list(inputs))
        return totals

    @torch.no_grad()
    def loss(self, batch: Batch) -> float:
        """Return the batch's mean loss, the network as it is set, in the mode it is in."""
        parts = split_batch(self.fabric.to_device(batch), self.accumulate)
        return sum(share * float(self.task.loss(self.network, part)[0]) for part, share in parts)

    def weight_step(self, batch: Batch) -> Metrics:
        """Move the weights one step down the batch's loss; return loss and metrics."""
        self.optimizer.zero_grad(set_to_none=True)
        metrics = self.gradients(batch, self.weights)
        if self.clip is not None:
            norm = self.fabric.clip_gradients(
                self.network, self._stepper, max_norm=self.clip, error_if_nonfinite=False
            )
            # Under a loss scale an overflow is ordinary: the scaler skips that step.
            is_scaled = getattr(self.fabric.strategy.precision, "scaler", None) is not None
            if norm is not None and not torch.isfinite(norm) and not is_scaled:
                raise NotFiniteError(
                    "The gradient of the weights is not finite: lower the learning rate, or"
                    " check the data for invalid values; the run resumes from its last checkpoint."
                )
        if isinstance(self.task, Paced):
            gradients = [weight.grad for weight in self.weights if weight.grad is not None]
            torch._foreach_mul_(gradients, self.task.pace(batch))
        self._stepper.step()
        return metrics

    def fit_precision(self, optimizer: torch.optim.Optimizer) -> Any:
        """Return the optimiser with a step that undoes the loss scaling of 16-bit precision."""
        return self.fabric.setup_optimizers(optimizer)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the weights' optimiser and of the precision's loss scale."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.fabric.strategy.precision.load_state_dict(state["precision"])


def gradient_of(leaf: Tensor) -> Tensor:
    """Return the leaf's gradient: zeros where no path leads from it to the loss."""
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


def batch_length(batch: Batch) -> int | None:
    """Return how many examples a batch has: the length of its tensors in dimension 0.

    None where they differ, as in detection, or where there is no tensor: what such a batch holds
    only its task knows.
    """
    lengths = _lengths(batch)
    return lengths.pop() if len(lengths) == 1 else None


def split_batch(batch: Batch, parts: int) -> list[tuple[Batch, float]]:
    """Split the tensors of a batch along dimension 0.

    Returns:
        The parts and each one's share of the examples; fewer parts where there are fewer
        examples.

    Raises:
        UsageError: the batch is empty; or it is to be split and holds no tensor, or tensors of
            different lengths.
    """
    length = batch_length(batch)
    if parts == 1 and length != 0:
        return [(batch, 1.0)]
    if not length:
        raise UsageError(
            "The tensors of a batch must agree in dimension 0 to be split, and hold at least one"
            f" example, but their lengths are {sorted(_lengths(batch)) or 'none'}."
        )
    leaves, spec = pytree.tree_flatten(batch)
    bounds = [length * index // parts for index in range(parts + 1)]
    split = []
    for start, end in pairwise(bounds):
        if start < end:
            part = [
                leaf[start:end] if isinstance(leaf, Tensor) and leaf.dim() > 0 else leaf
                for leaf in leaves
            ]
            split.append((pytree.tree_unflatten(part, spec), (end - start) / length))
    return split


def _lengths(batch: Batch) -> set[int]:
    leaves = pytree.tree_leaves(batch)
    return {leaf.shape[0] for leaf in leaves if isinstance(leaf, Tensor) and leaf.dim() > 0}
