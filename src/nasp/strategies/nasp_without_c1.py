"""NASP without C1, an ablation (Yao et al., AAAI 2020): alphas in [0, 1], nothing discrete."""

from __future__ import annotations

import torch

from nasp.strategies.relaxation import AlphaAdam, Relaxation
from nasp.supernet.path import Path
from nasp.supernet.proximal import prox_c2
from nasp.supernet.supernet import Alphas
from nasp.training.task import Batch, Metrics


class NASPWithoutC1Config(AlphaAdam):
    """Settings of NASP without C1; the defaults are those of NASP's authors' code."""


class NASPWithoutC1(Relaxation):
    """NASP in which nothing is discrete: where Ā stands in its iteration, here stands A.

    A_{t+1} = prox_C2(A_t − ε ∇_A F(w_t, A_t)),  w_{t+1} = w_t − γ ∇_w L_train(w_t, A_{t+1}).

    All candidates run, each times its entry of A; derived is where prox_C1 keeps an entry.

    Args:
        problem: whose alphas start at 0.5 everywhere; R is taken at A.
        config: settings.
    """

    MEAN = 0.5
    DEVIATION = 0.0
    DERIVES_NONE = True

    def arch_step(self, batch: Batch) -> Metrics | None:
        """Move the alphas by the gradient at A, then into C2."""
        metrics = super().arch_step(batch)
        with torch.no_grad():
            for a in self.supernet.alphas.values():
                a.copy_(prox_c2(a))
        return metrics

    def mixture(self) -> tuple[Alphas, Path | None]:
        """Return A."""
        return self.strengths(), None

    def strengths(self) -> Alphas:
        """Return A."""
        return dict(self.supernet.alphas)
