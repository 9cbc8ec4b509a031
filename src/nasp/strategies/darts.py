"""DARTS, first order: the alphas of a softmax mixture (Liu, Simonyan, Yang, ICLR 2019)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from nasp.architecture import Architecture
from nasp.complexity import Penalty
from nasp.learner import Learner, gradient_of
from nasp.strategies.strategy import Horizon
from nasp.supernet import Alphas, Supernet
from nasp.tasks.task import Batch, Metrics

START = 1e-3
"""Standard deviation of the first alphas (the authors' code)."""
NONE = "none"
"""The candidate that may take part in the search and never in what is derived from it."""


class DARTSConfig(BaseModel):
    """Settings of DARTS, of either order; the defaults are those of the authors' code.

    Attributes:
        lr: the alphas' step size (Adam).
        betas: Adam's, for the alphas.
        weight_decay: on the alphas.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lr: float = Field(3e-4, gt=0)
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = Field(1e-3, ge=0)


class DARTS:
    """Algorithm 1 of the paper with ξ = 0; every step runs all candidates.

    Args:
        supernet: its alphas are drawn anew, from N(0, 1e-3²).
        learner: takes the gradients and the weight steps.
        config: settings.
        horizon: not needed.
        seed: fixes the first alphas, and how ties are broken in what is derived.
        penalty: η R, taken at softmax(A); 0 in the paper.
    """

    def __init__(
        self,
        supernet: Supernet,
        learner: Learner,
        config: DARTSConfig,
        horizon: Horizon,
        seed: int,
        penalty: Penalty,
    ) -> None:
        del horizon
        self.supernet = supernet
        self.learner = learner
        self.config = config
        self.generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for a in supernet.alphas.values():
                a.copy_(START * torch.randn(a.shape, generator=self.generator))
        self.penalty = penalty
        self.optimizer = torch.optim.Adam(
            supernet.alphas.values(),
            lr=config.lr,
            betas=config.betas,
            weight_decay=config.weight_decay,
        )
        self.alpha_step = learner.fit_precision(self.optimizer).step

    def arch_step(self, batch: Batch) -> Metrics:
        """Move the alphas: A ← A − ε ∇_A [L_val(w, A) + η R]."""
        mixture = self.relax()
        metrics = self.learner.gradients(
            batch, inputs=list(mixture.values()), penalty=lambda: self.penalty(mixture)
        )
        self.descend({name: gradient_of(p) for name, p in mixture.items()})
        return metrics

    def weight_step(self, batch: Batch) -> Metrics:
        """Move the weights through the mixture: w ← w − γ ∇_w L_train(w, A)."""
        with torch.no_grad():
            self.supernet.mixture(self._softmax())
        return self.learner.weight_step(batch)

    def derive(self) -> Architecture:
        """Return each edge's strongest candidate, and each node's strongest edges (sec. 2.4).

        ``none`` is left out of both rankings wherever an edge has another candidate, and an
        edge is as strong as its strongest candidate's softmax.
        """
        strengths = {name: p.detach().clone() for name, p in self._softmax().items()}
        for name, table in self.supernet.tables.items():
            if NONE in table.candidates and len(table.candidates) > 1:
                strengths[name][:, table.candidates.index(NONE)] = -1.0
        # A copy: deriving breaks ties alike each time, and moves nothing.
        generator = torch.Generator()
        generator.set_state(self.generator.get_state())
        return self.supernet.architecture(self.supernet.discretise(strengths, generator))

    def relax(self) -> Alphas:
        """Return leaves that hold softmax(A), the supernet set to run the mixture they weight."""
        # Leaves, for a batch in several parts goes backward through them several times.
        leaves = {name: p.detach().requires_grad_() for name, p in self._softmax().items()}
        self.supernet.mixture(leaves)
        return leaves

    def descend(self, gradients: Mapping[str, Tensor]) -> None:
        """Move the alphas one step, given the gradient by softmax(A)."""
        self.optimizer.zero_grad(set_to_none=True)
        mixture = self._softmax()
        torch.autograd.backward(list(mixture.values()), [gradients[name] for name in mixture])
        self.alpha_step()

    def state_dict(self) -> dict[str, Any]:
        """Return the alphas' optimiser and what breaks ties."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])

    def _softmax(self) -> Alphas:
        return {name: a.softmax(dim=1) for name, a in self.supernet.alphas.items()}
