"""PC-DARTS: partial channels and edge normalisation (Xu et al., ICLR 2020).

That candidates see a part of the channels is a property of the supernet: see
`nasp.PartialChannels`. What is here is the rest, which works with all channels, too.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import nn

from nasp.strategies.relaxation import AlphaAdam, Relaxation, softmax
from nasp.strategies.strategy import Problem
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Alphas
from nasp.training.task import Batch, Metrics

PARTS = 4
"""K of the authors' code: candidates see a quarter of the channels."""


class PCDARTSConfig(AlphaAdam):
    """Settings of PC-DARTS; the defaults are those of the authors' code.

    Attributes:
        lr: the step size (Adam) of the alphas and of the edges' own strengths; None as in DARTS.
        weight_decay: on the same.
        warmup_epochs: epochs at the start in which the weights train and the alphas rest;
            None: three tenths of all, 15 of the authors' 50.
    """

    AUTHORS_LR: ClassVar[float] = 6e-4

    warmup_epochs: int | None = Field(None, ge=0)


class PCDARTS:
    """DARTS with a softmax over the edges of each node group on top of that over candidates.

    Args:
        problem: whose alphas are drawn anew, from N(0, 1e-3²); R is taken at the mixture's weights.
        config: settings.

    Attributes:
        betas: β, one entry for each edge of each node group; an edge in no group has none.
    """

    def __init__(self, problem: Problem, config: PCDARTSConfig) -> None:
        supernet, horizon = problem.supernet, problem.horizon
        like = next(iter(supernet.alphas.values())).detach()
        self.betas = [nn.Parameter(like.new_zeros(len(group.edges))) for group in supernet.groups]
        warmup = config.warmup_epochs
        epochs = round(0.3 * horizon.epochs) if warmup is None else warmup
        self.relaxation = Relaxation(problem, config, others=self.betas)
        self.warmup_steps = epochs * horizon.steps_per_epoch
        self.weight_steps = 0

    def arch_step(self, batch: Batch) -> Metrics | None:
        """Move alphas and β: A ← A − ε ∇_A [L_val(w, A, β) + η R]; None in the warm-up."""
        if self.weight_steps < self.warmup_steps:
            return None
        return self.relaxation.arch_step(batch, self.mixture())

    def weight_step(self, batch: Batch) -> Metrics:
        """Move the weights through the mixture: w ← w − γ ∇_w L_train(w, A, β)."""
        self.weight_steps += 1
        return self.relaxation.weight_step(batch, self.mixture())

    def derive(self) -> Architecture:
        """Return the strongest candidates and edges, by the mixture's weights.

        ``none`` is left out of both rankings wherever an edge has another candidate.
        """
        return self.relaxation.strongest(self.mixture(), with_none=False)

    def mixture(self) -> Alphas:
        """Return softmax(A), row by row, times softmax(β) over the edges of a node."""
        supernet = self.relaxation.supernet
        edges = torch.ones(len(supernet.edges)).to(next(iter(supernet.alphas.values())))
        for group, beta in zip(supernet.groups, self.betas, strict=True):
            where = torch.tensor(group.edges, device=edges.device)
            edges = edges.index_copy(0, where, beta.softmax(dim=0))
        rows = torch.split(edges, [len(table.edges) for table in supernet.tables.values()])
        shares = dict(zip(supernet.tables, rows, strict=True))
        return {name: p * shares[name][:, None] for name, p in softmax(supernet.alphas).items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the optimiser, β, what breaks ties and the count of steps."""
        return {
            "relaxation": self.relaxation.state_dict(),
            "betas": [beta.detach().clone() for beta in self.betas],
            "weight_steps": self.weight_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.relaxation.load_state_dict(state["relaxation"])
        with torch.no_grad():
            for beta, value in zip(self.betas, state["betas"], strict=True):
                beta.copy_(value)
        self.weight_steps = state["weight_steps"]
