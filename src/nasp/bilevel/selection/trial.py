"""One network of a selection in training, rung after rung."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from nasp.bilevel.selection.measure import measure
from nasp.training.recipe import Recipe
from nasp.training.task import Batch, Metrics, Task


class Trial:
    """Trains a derived network; in each rung the learning rate falls along a cosine of its own.

    So all comparisons are between networks whose learning rate has come down; weights and
    momentum go on from rung to rung.

    Args:
        network: trained in place.
        task: the task.
        recipe: optimiser, learning rates, device, precision.
    """

    def __init__(self, network: nn.Module, task: Task, recipe: Recipe) -> None:
        self.network = network
        self.task = task
        self.recipe = recipe
        weights = [weight for weight in network.parameters() if weight.requires_grad]
        # A path may have no weight at all: it is measured as it is.
        self.learner = recipe.learner(network, task, weights or [nn.Parameter(torch.empty(0))])
        self._rates = [float(group["lr"]) for group in self.learner.optimizer.param_groups]

    def step(self, batch: Batch, done: float) -> Metrics:
        """Train on a batch; `done` is the share of the rung's steps that lie behind."""
        fall = (1 + math.cos(math.pi * done)) / 2
        recipe, groups = self.recipe, self.learner.optimizer.param_groups
        for group, high in zip(groups, self._rates, strict=True):
            low = recipe.lr_end if high == recipe.lr else high * recipe.lr_end / recipe.lr
            group["lr"] = low + (high - low) * fall
        self.network.train()
        return self.learner.weight_step(batch)

    def measure(self, batches: Iterable[Batch]) -> Metrics:
        """Return the metrics in evaluation mode, with the running statistics."""
        self.network.eval()
        return measure(self.learner.network, batches, self.task, self.learner.fabric)

    def state_dict(self) -> dict[str, Any]:
        """Return weights, buffers and the optimiser's state."""
        return {"network": self.network.state_dict(), "learner": self.learner.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.network.load_state_dict(state["network"])
        self.learner.load_state_dict(state["learner"])
