"""PA, standard: the plain proximal algorithm, an ablation of NASP (Yao et al., AAAI 2020).

One copy of the alphas is kept, the gradient is taken at it, and every step ends in C.
"""

from __future__ import annotations

from typing import Any

import torch

from nasp.strategies.relaxation import AlphaAdam, Relaxation
from nasp.strategies.strategy import Problem
from nasp.supernet.architecture import Architecture
from nasp.supernet.path import Path
from nasp.supernet.proximal import prox_c2
from nasp.supernet.supernet import Alphas
from nasp.training.task import Batch, Metrics


class PAStandardConfig(AlphaAdam):
    """Settings of the plain proximal algorithm; the defaults are those of NASP's authors' code."""


class PAStandard(Relaxation):
    """A_{t+1} = prox_C(A_t − ε ∇_A F(w_t, A_t)),  w_{t+1} = w_t − γ ∇_w L_train(w_t, A_{t+1}).

    Args:
        problem: whose alphas start at 0.5 everywhere; R is taken at A.
        config: settings.
    """

    MEAN = 0.5
    DEVIATION = 0.0
    DERIVES_NONE = True

    def __init__(self, problem: Problem, config: AlphaAdam) -> None:
        super().__init__(problem, config)
        self.path: Path | None = None

    def arch_step(self, batch: Batch) -> Metrics | None:
        """Move the alphas by the gradient at the continuous point, then into C."""
        metrics = self.gradient_step(batch)
        self.project()
        return metrics

    def gradient_step(self, batch: Batch) -> Metrics | None:
        """A ← A − ε ∇_A F(w, A): through all candidates, those of weight 0 too."""
        self.path = None
        return super().arch_step(batch)

    def project(self) -> None:
        """A ← prox_C(A) = prox_C2(prox_C1(A))."""
        path = self.supernet.discretise(self.supernet.alphas, self.generator)
        with torch.no_grad():
            for a, kept in zip(
                self.supernet.alphas.values(), self.supernet.one_hot(path).values(), strict=True
            ):
                a.copy_(prox_c2(kept * a))
        self.path = path

    def mixture(self) -> tuple[Alphas, Path | None]:
        """Return A, and the candidates that it keeps: each runs times its entry."""
        return self.strengths(), self.path

    def strengths(self) -> Alphas:
        """Return A."""
        return dict(self.supernet.alphas)

    def derive(self) -> Architecture:
        """Return where prox_C1 keeps an entry."""
        return super().derive() if self.path is None else self.supernet.architecture(self.path)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every relaxation, and where the last projection ended."""
        path = None if self.path is None else list(self.path)
        return {**super().state_dict(), "path": path}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        super().load_state_dict(state)
        self.path = None if state["path"] is None else tuple(state["path"])
