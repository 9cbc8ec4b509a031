"""PA, standard: the plain proximal algorithm, an ablation of NASP (Yao et al., AAAI 2020).

One copy of the alphas is kept, the gradient is taken at it, and every step ends in C.
"""

from __future__ import annotations

from typing import Any

import torch

from nasp.strategies.relaxation import AlphaAdam, Relaxation
from nasp.strategies.strategy import Problem
from nasp.supernet.architecture import Architecture
from nasp.supernet.proximal import prox_c2
from nasp.supernet.supernet import Alphas
from nasp.training.task import Batch, Metrics


class PAStandardConfig(AlphaAdam):
    """Settings of the plain proximal algorithm; the defaults are those of NASP's authors' code."""


class PAStandard:
    """A_{t+1} = prox_C(A_t − ε ∇_A F(w_t, A_t)),  w_{t+1} = w_t − γ ∇_w L_train(w_t, A_{t+1}).

    Args:
        problem: whose alphas start at 0.5 everywhere; R is taken at A.
        config: settings.
    """

    def __init__(self, problem: Problem, config: AlphaAdam) -> None:
        self.supernet = problem.supernet
        self.relaxation = Relaxation(problem, config, mean=0.5, deviation=0.0)
        self.path: Alphas | None = None

    def arch_step(self, batch: Batch) -> Metrics:
        """Move the alphas by the gradient at the continuous point, then into C."""
        metrics = self.gradient_step(batch)
        self.project()
        return metrics

    def weight_step(self, batch: Batch) -> Metrics:
        """Move the weights through the candidates that A keeps, each times its entry."""
        alphas: Alphas = dict(self.supernet.alphas)
        return self.relaxation.weight_step(batch, alphas, self.path)

    def derive(self) -> Architecture:
        """Return where prox_C1 keeps an entry."""
        if self.path is not None:
            return self.supernet.architecture(self.path)
        return self.relaxation.strongest(self.supernet.alphas, with_none=True)

    def gradient_step(self, batch: Batch) -> Metrics:
        """A ← A − ε ∇_A F(w, A): through all candidates, those of weight 0 too."""
        self.path = None
        return self.relaxation.arch_step(batch, dict(self.supernet.alphas))

    def project(self) -> None:
        """A ← prox_C(A) = prox_C2(prox_C1(A))."""
        path = self.supernet.discretise(self.supernet.alphas, self.relaxation.generator)
        with torch.no_grad():
            for name, a in self.supernet.alphas.items():
                a.copy_(prox_c2(path[name] * a))
        self.path = path

    def state_dict(self) -> dict[str, Any]:
        """Return the alphas' optimiser, what breaks ties, and where the last projection ended."""
        return {"relaxation": self.relaxation.state_dict(), "path": self.path}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.relaxation.load_state_dict(state["relaxation"])
        self.path = state["path"]
