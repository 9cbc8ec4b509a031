"""No search at all: uniformly drawn architectures, the control of every claim."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from nasp.strategies.strategy import Problem
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Supernet
from nasp.training.task import Batch, Metrics

PATIENCE = 200
"""Draws in a row that bring nothing new, after which a space counts as drawn empty."""


class RandomConfig(BaseModel):
    """Random search has no settings."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Random:
    """Draws architectures by the seed and looks at no data.

    Args:
        problem: its seed fixes what is drawn; the alphas rest, and of weight steps the loop takes
            none.
        config: not needed.
    """

    def __init__(self, problem: Problem, config: RandomConfig) -> None:
        del config
        self.supernet = problem.supernet
        self.learner = problem.learner
        self.seed = problem.seed

    def arch_step(self, batch: Batch) -> None:
        """Move nothing."""

    def weight_step(self, batch: Batch) -> Metrics:
        """Train the first architecture's weights."""
        self.supernet.single(self.supernet.path(self.derive()))
        return self.learner.weight_step(batch)

    def derive(self) -> Architecture:
        """Return the first architecture that is drawn."""
        return self.propose(1)[0]

    def propose(self, count: int) -> list[Architecture]:
        """Return `count` distinct architectures, or as many as the space seems to have."""
        return draw(self.supernet, count, self.seed)

    def state_dict(self) -> dict[str, Any]:
        """Return the seed."""
        return {"seed": self.seed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.seed = state["seed"]


def draw(supernet: Supernet, count: int, seed: int) -> list[Architecture]:
    """Return `count` distinct, uniformly drawn architectures of a supernet, in the order drawn.

    Fewer where `PATIENCE` draws in a row brought nothing new: a small space has no more.
    """
    generator = torch.Generator().manual_seed(seed)
    drawn: dict[Architecture, None] = {}
    misses = 0
    while len(drawn) < count and misses < PATIENCE:
        before = len(drawn)
        drawn.setdefault(supernet.architecture(supernet.random_path(generator)))
        misses = 0 if len(drawn) > before else misses + 1
    return list(drawn)
