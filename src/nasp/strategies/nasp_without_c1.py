"""NASP without C1, an ablation (Yao et al., AAAI 2020): alphas in [0, 1], nothing discrete."""

from __future__ import annotations

from typing import Any

import torch

from nasp.strategies.relaxation import AlphaAdam, Relaxation
from nasp.strategies.strategy import Problem
from nasp.supernet.architecture import Architecture
from nasp.supernet.proximal import prox_c2
from nasp.training.task import Batch, Metrics


class NASPWithoutC1Config(AlphaAdam):
    """Settings of NASP without C1; the defaults are those of NASP's authors' code."""


class NASPWithoutC1:
    """NASP in which nothing is discrete: where Ā stands in its iteration, here stands A.

    A_{t+1} = prox_C2(A_t − ε ∇_A F(w_t, A_t)),  w_{t+1} = w_t − γ ∇_w L_train(w_t, A_{t+1}).

    Args:
        problem: whose alphas start at 0.5 everywhere; R is taken at A.
        config: settings.
    """

    def __init__(self, problem: Problem, config: NASPWithoutC1Config) -> None:
        self.supernet = problem.supernet
        self.relaxation = Relaxation(problem, config, mean=0.5, deviation=0.0)

    def arch_step(self, batch: Batch) -> Metrics:
        """Move the alphas by the gradient at A, then into C2."""
        metrics = self.relaxation.arch_step(batch, dict(self.supernet.alphas))
        with torch.no_grad():
            for a in self.supernet.alphas.values():
                a.copy_(prox_c2(a))
        return metrics

    def weight_step(self, batch: Batch) -> Metrics:
        """Move the weights through all candidates, each times its entry of A."""
        return self.relaxation.weight_step(batch, dict(self.supernet.alphas))

    def derive(self) -> Architecture:
        """Return where prox_C1 keeps an entry of A."""
        return self.relaxation.strongest(self.supernet.alphas, with_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the alphas' optimiser and what breaks ties."""
        return self.relaxation.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.relaxation.load_state_dict(state)
