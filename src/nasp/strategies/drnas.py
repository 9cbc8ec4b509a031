"""DrNAS: mixture weights drawn from a Dirichlet distribution (Chen et al., ICLR 2021)."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence
from torch.nn import functional as F

from nasp.strategies.relaxation import AlphaAdam, Relaxation, softmax
from nasp.strategies.strategy import Problem
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Alphas
from nasp.training.task import Batch, Metrics


class DrNASConfig(AlphaAdam):
    """Settings of DrNAS; the defaults are those of the authors' code for NAS-Bench-201.

    Attributes:
        weight_decay: on the alphas; it draws the concentration to that of Dir(1), where they are 0.
        kl: λ, the weight of KL(Dir(β) ‖ Dir(1)), the paper's other way to do so.
    """

    kl: float = Field(0.0, ge=0)


class DrNAS:
    """Every step draws each edge's weights from Dir(β), β = elu(A) + 1, and runs all candidates.

    The gradient is the pathwise one of `torch.distributions.Dirichlet`, which draws from torch's
    global random state, as dropout does.

    Args:
        problem: whose alphas are drawn anew, from N(0, 1e-3²), so β is 1 at first; R is taken at
            the sample.
        config: settings.
    """

    def __init__(self, problem: Problem, config: DrNASConfig) -> None:
        self.config = config
        self.relaxation = Relaxation(problem, config)

    def arch_step(self, batch: Batch) -> Metrics:
        """Move the alphas along the gradient through a sample."""
        prior = self.distance_to_anchor if self.config.kl > 0 else None
        return self.relaxation.arch_step(batch, self.sample(), prior=prior)

    def weight_step(self, batch: Batch) -> Metrics:
        """Move the weights through another sample."""
        with torch.no_grad():
            sample = self.sample()
        return self.relaxation.weight_step(batch, sample)

    def derive(self) -> Architecture:
        """Return each edge's strongest candidate and each node's strongest edges, by softmax(A).

        ``none`` counts as any other candidate.
        """
        return self.relaxation.strongest(softmax(self.relaxation.supernet.alphas), with_none=True)

    def sample(self) -> Alphas:
        """Return θ ~ Dir(β), row by row, with the pathwise graph to the alphas."""
        return {name: q.rsample() for name, q in self._distributions().items()}

    def distance_to_anchor(self) -> Tensor:
        """Return λ sum over edges of KL(Dir(β) ‖ Dir(1))."""
        distances = [
            kl_divergence(q, Dirichlet(torch.ones_like(q.concentration))).sum()
            for q in self._distributions().values()
        ]
        return self.config.kl * torch.stack(distances).sum()

    def state_dict(self) -> dict[str, Any]:
        """Return the alphas' optimiser and what breaks ties."""
        return self.relaxation.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.relaxation.load_state_dict(state)

    def _distributions(self) -> dict[str, Dirichlet]:
        alphas = self.relaxation.supernet.alphas
        # elu rounds to -1 far below 0, and a concentration must be positive.
        return {name: Dirichlet((F.elu(a) + 1).clamp_min(1e-6)) for name, a in alphas.items()}
