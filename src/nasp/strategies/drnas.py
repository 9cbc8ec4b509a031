"""DrNAS: mixture weights drawn from a Dirichlet distribution (Chen et al., ICLR 2021)."""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor
from torch.distributions import Dirichlet, kl_divergence
from torch.nn import functional as F

from nasp.strategies.relaxation import AlphaAdam, Relaxation
from nasp.strategies.strategy import Problem
from nasp.supernet.path import Path
from nasp.supernet.supernet import Alphas


class DrNASConfig(AlphaAdam):
    """Settings of DrNAS; the defaults are those of the authors' code for NAS-Bench-201.

    Attributes:
        weight_decay: on the alphas; it draws the concentration to that of Dir(1), where they are 0.
        kl: λ, the weight of KL(Dir(β) ‖ Dir(1)), the paper's other way to do so.
    """

    kl: float = Field(0.0, ge=0)


class DrNAS(Relaxation):
    """Every step draws each edge's weights from Dir(β), β = elu(A) + 1, and runs all candidates.

    The gradient is the pathwise one of `torch.distributions.Dirichlet`, which draws from torch's
    global random state, as dropout does. Derived are each edge's strongest candidate and each
    node's strongest edges, by softmax(A), ``none`` like any other.

    Args:
        problem: whose alphas are drawn anew, from N(0, 1e-3²), so β is 1 at first; R is taken at
            the sample.
        config: settings.
    """

    DERIVES_NONE = True

    def __init__(self, problem: Problem, config: DrNASConfig) -> None:
        super().__init__(problem, config)
        self.kl = config.kl

    def mixture(self) -> tuple[Alphas, Path | None]:
        """Return θ ~ Dir(β), row by row, with the pathwise graph to the alphas."""
        return {name: q.rsample() for name, q in self._distributions().items()}, None

    def distance_to_anchor(self) -> Tensor:
        """Return λ sum over edges of KL(Dir(β) ‖ Dir(1))."""
        distances = [
            kl_divergence(q, Dirichlet(torch.ones_like(q.concentration))).sum()
            for q in self._distributions().values()
        ]
        return self.kl * torch.stack(distances).sum()

    def add_prior(self) -> None:
        """Add the gradient of the distance to Dir(1)."""
        if self.kl > 0:
            self.distance_to_anchor().backward()  # type: ignore[no-untyped-call]

    def _distributions(self) -> dict[str, Dirichlet]:
        alphas = self.supernet.alphas
        # elu rounds to -1 far below 0, and a concentration must be positive.
        return {name: Dirichlet((F.elu(a) + 1).clamp_min(1e-6)) for name, a in alphas.items()}
