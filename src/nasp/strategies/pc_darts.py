"""PC-DARTS: partial channels and edge normalisation (Xu et al., ICLR 2020).

That candidates see a part of the channels is a property of the supernet: see
`nasp.PartialChannels`. What is here is the rest, which works with all channels, too.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import nn

from nasp.strategies.relaxation import AlphaAdam, Relaxation, softmax
from nasp.strategies.strategy import Problem
from nasp.supernet.path import Path
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


class PCDARTS(Relaxation):
    """DARTS with a softmax over the edges of each node group on top of that over candidates.

    Derived is by the mixture's weights, without ``none``.

    Args:
        problem: whose alphas are drawn anew, from N(0, 1e-3²); R is taken at the mixture's weights.
        config: settings.

    Attributes:
        betas: β, one entry for each edge of each node group; an edge in no group has none.
    """

    def __init__(self, problem: Problem, config: PCDARTSConfig) -> None:
        like = next(iter(problem.supernet.alphas.values())).detach()
        sizes = [len(group.edges) for group in problem.supernet.groups]
        self.betas = [nn.Parameter(like.new_zeros(size)) for size in sizes]
        super().__init__(problem, config, self.betas)
        epochs, warmup = problem.horizon.epochs, config.warmup_epochs
        self.warmup_steps = problem.horizon.steps_per_epoch * (
            round(0.3 * epochs) if warmup is None else warmup
        )

    def arch_step(self, batch: Batch) -> Metrics | None:
        """Move alphas and β: A ← A − ε ∇_A [L_val(w, A, β) + η R]; None in the warm-up."""
        return None if self.weight_steps < self.warmup_steps else super().arch_step(batch)

    def mixture(self) -> tuple[Alphas, Path | None]:
        """Return softmax(A), row by row, times softmax(β) over the edges of a node."""
        return self.strengths(), None

    def strengths(self) -> Alphas:
        """Return the mixture's weights."""
        supernet = self.supernet
        edges = torch.ones(len(supernet.edges)).to(next(iter(supernet.alphas.values())))
        for group, beta in zip(supernet.groups, self.betas, strict=True):
            edges = edges.index_copy(0, torch.tensor(group.edges), beta.softmax(dim=0))
        rows = torch.split(edges, [len(table.edges) for table in supernet.tables.values()])
        shares = dict(zip(supernet.tables, rows, strict=True))
        return {name: p * shares[name][:, None] for name, p in softmax(supernet.alphas).items()}
