"""What candidates gain beside one another: the gradients of a search as a function of its points.

At a discrete point the gradient says what single changes of it gain, to first order. Averaged over
points that says nothing of how candidates go together. An affine function of the point does, and
its line integral from nothing to a network is what the network gains: its integrated gradient
(Sundararajan et al., ICML 2017), where the gradient is known at discrete points alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from nasp.supernet.supernet import Alphas

RIDGE = 100.0
"""Steps that speak for no interaction at all; see docs/results."""
MOST = 512
"""Candidates of all edges together, from which on their pairs are not looked at."""


@dataclass(frozen=True)
class Interactions:
    """How often candidates were chosen together, and the gradients that were met then.

    All are sums over steps; n is how many candidates all edges have.

    Attributes:
        steps: how many.
        pairs: ``[n, n]``, how often both were chosen; on the diagonal how often each was.
        gradients: ``[n]``, of every candidate.
        beside: ``[n, n]``, of the column's candidate, where the row's was chosen.
    """

    steps: int
    pairs: Tensor
    gradients: Tensor
    beside: Tensor

    @classmethod
    def nothing(cls, candidates: int) -> Interactions:
        """Return the sums over no step."""
        zeros = partial(torch.zeros, dtype=torch.float64)
        n = candidates
        return cls(0, zeros(n, n), zeros(n), zeros(n, n))

    def add(self, point: Alphas, gradients: Alphas) -> Interactions:
        """Return the sums with a step's discrete point and the gradients there, of each table."""
        x, g = flat(point), flat({name: gradients[name] for name in point})
        return replace(
            self,
            steps=self.steps + 1,
            pairs=self.pairs.addr(x, x),
            gradients=self.gradients + g,
            beside=self.beside.addr(x, g),
        )

    def __add__(self, other: Interactions) -> Interactions:
        """Return the sums over the steps of both."""
        return Interactions(
            self.steps + other.steps,
            self.pairs + other.pairs,
            self.gradients + other.gradients,
            self.beside + other.beside,
        )

    def fit(self, gains: Alphas) -> Fit:
        """Return -∇F as an affine function of the point.

        The slopes are those of a ridge regression, as if `RIDGE` more steps had shown none; where a
        candidate is not chosen, its gain is in the mean the one that is given.

        Args:
            gains: table -> ``[edges, candidates]``.
        """
        rows = [row for table in gains.values() for row in table]
        edges = torch.cat([torch.full(row.shape, edge) for edge, row in enumerate(rows)])
        chosen, steps = self.pairs.diagonal(), max(self.steps, 1)
        mean = chosen / steps
        spread = self.pairs - torch.outer(chosen, mean)
        along = self.beside - torch.outer(mean, self.gradients)
        slopes = torch.zeros_like(self.pairs)
        for edge in range(len(rows)):
            own, others = (edges == edge).nonzero().flatten(), (edges != edge).nonzero().flatten()
            ridge = RIDGE * torch.eye(len(others), dtype=torch.float64)
            solved = torch.linalg.solve(spread[others][:, others] + ridge, along[others][:, own])
            slopes[own[:, None], others] = -solved.T
        apart = (steps - chosen)[:, None]
        beside = torch.where(apart > 0, (chosen - self.pairs) / apart.clamp_min(1), mean)
        alone = flat(gains) - (slopes * beside).sum(dim=1)
        return Fit(gains, alone, slopes, mean)


@dataclass(frozen=True)
class Fit:
    """What paths gain by the gradients between nothing and them.

    Attributes:
        like: tables of the shape that scores have.
        alone: ``[n]``, -∇F where every edge holds nothing.
        slopes: ``[n, n]``, how the row's entry of -∇F grows with the column's candidate.
        mean: ``[n]``, the mean point.
    """

    like: Alphas
    alone: Tensor
    slopes: Tensor
    mean: Tensor

    def gain(self, point: Alphas) -> float:
        """Return the line integral of -∇F from nothing straight to a discrete point."""
        x = flat(point)
        return float(x @ self.alone + x @ self.slopes @ x / 2)

    def scores(self) -> Alphas:
        """Return the gradient of `gain` at the mean point, ``[edges, candidates]``.

        In units of the largest entry, as a solver's tolerances need it.
        """
        each = self.alone + (self.slopes + self.slopes.T) @ self.mean / 2
        each = each / (float(each.abs().max()) or 1.0)
        parts = torch.split(each, [table.numel() for table in self.like.values()])
        tables = zip(self.like.items(), parts, strict=True)
        return {name: part.reshape(table.shape) for (name, table), part in tables}


def flat(tables: Alphas) -> Tensor:
    """Return all entries of all tables, float64 on the CPU."""
    return torch.cat([each.detach().double().cpu().flatten() for each in tables.values()])
