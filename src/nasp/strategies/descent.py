"""A discrete step that never goes uphill: how NASP's architecture comes to rest.

The gradient at the discrete point says what a little of another candidate would do, not what
taking it instead would do. So the argmax chatters, and its last value is arbitrary. Here each
proposed step is measured on the batch that proposed it, as monotone proximal gradient methods do
(Li, Lin, "Accelerated Proximal Gradient Methods for Nonconvex Programming", NeurIPS 2015).
"""

from __future__ import annotations

from typing import Any

import torch

from nasp.runs.random_state import random_states, restore_random_states
from nasp.strategies.neighbourhood import changed_units, units, with_unit
from nasp.strategies.strategy import Problem
from nasp.supernet.path import Path
from nasp.supernet.proximal import prox_c2
from nasp.training.task import Batch

REST = 5
"""Steps of size ε by which the alphas of a refused change fall back."""


class Descent:
    """Takes one change of a proposed path where it lowers F = L_val + η R, else none.

    Args:
        problem: whose alphas fall back where a change is refused; R is taken at the discrete point.
        lr: the alphas' step size ε.
    """

    def __init__(self, problem: Problem, lr: float) -> None:
        self.problem = problem
        self.supernet = problem.supernet
        self.setback = REST * lr

    @torch.no_grad()
    def step(
        self, path: Path, proposal: Path, batch: Batch, loss: float, drawn: dict[str, Any]
    ) -> Path:
        """Return `path` with the proposal's foremost change, or `path` where that goes uphill.

        Args:
            path: the one that stands.
            proposal: prox_C1 of the alphas.
            batch: the validation batch of this step.
            loss: of `path` on it.
            drawn: the random states with which that was measured: the change is measured with the
                same, for another mask of dropout would say more than one edge does.
        """
        changed = self.foremost_change(path, proposal)
        if changed is None:
            return path
        self.supernet.single(changed)
        states = random_states()
        restore_random_states(drawn)
        risen = self.problem.learner.loss(batch) - loss
        restore_random_states(states)
        here, there = self.supernet.one_hot(path), self.supernet.one_hot(changed)
        if risen + float(self.problem.penalty(there) - self.problem.penalty(here)) < 0:
            return changed
        for name, a in self.supernet.alphas.items():
            a.copy_(prox_c2(a + self.setback * (here[name] - there[name])))
        return path

    def foremost_change(self, path: Path, proposal: Path) -> Path | None:
        """Return `path` with the change of the edge or node whose alphas gain most by it.

        The edges of a node group change together. None where the two paths are equal.
        """
        changed = changed_units(self.supernet, path, proposal)
        if not changed:
            return None
        here, there = self.supernet.one_hot(path), self.supernet.one_hot(proposal)
        alphas = self.supernet.alphas.items()
        gains = torch.cat([((there[name] - here[name]) * a).sum(dim=1) for name, a in alphas])
        total = torch.zeros_like(gains).index_add_(0, torch.tensor(units(self.supernet)), gains)
        foremost = changed[int(total[changed].argmax())]
        return with_unit(self.supernet, path, proposal, foremost)
