"""DARTS, first order: the alphas of a softmax mixture (Liu, Simonyan, Yang, ICLR 2019)."""

from __future__ import annotations

from typing import Any

from nasp.strategies.relaxation import AlphaAdam, Relaxation, softmax
from nasp.strategies.strategy import Problem
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Alphas
from nasp.training.task import Batch, Metrics


class DARTSConfig(AlphaAdam):
    """Settings of DARTS, of either order; the defaults are those of the authors' code."""


class DARTS:
    """Algorithm 1 of the paper with ξ = 0; every step runs all candidates.

    Args:
        problem: whose alphas are drawn anew, from N(0, 1e-3²); R is taken at softmax(A).
        config: settings.
    """

    def __init__(self, problem: Problem, config: DARTSConfig) -> None:
        self.relaxation = Relaxation(problem, config)

    def arch_step(self, batch: Batch) -> Metrics:
        """Move the alphas: A ← A − ε ∇_A [L_val(w, A) + η R]."""
        return self.relaxation.arch_step(batch, self.mixture())

    def weight_step(self, batch: Batch) -> Metrics:
        """Move the weights through the mixture: w ← w − γ ∇_w L_train(w, A)."""
        return self.relaxation.weight_step(batch, self.mixture())

    def derive(self) -> Architecture:
        """Return each edge's strongest candidate, and each node's strongest edges (sec. 2.4).

        ``none`` is left out of both rankings wherever an edge has another candidate, and an
        edge is as strong as its strongest candidate's softmax.
        """
        return self.relaxation.strongest(self.mixture(), with_none=False)

    def mixture(self) -> Alphas:
        """Return the mixture's weights, softmax(A)."""
        return softmax(self.relaxation.supernet.alphas)

    def state_dict(self) -> dict[str, Any]:
        """Return the alphas' optimiser and what breaks ties."""
        return self.relaxation.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.relaxation.load_state_dict(state)
