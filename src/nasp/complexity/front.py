"""Pareto fronts of partial architectures: what they cost against what they lose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

LARGEST = 1000
"""States that a front keeps: below it the best architecture is exact, above it nearly so."""
_CHUNK = 512


@dataclass(frozen=True)
class Front:
    """States of which none is as cheap in every cost and as good as another.

    Attributes:
        costs: ``[states, kinds of cost]``, float64.
        losses: ``[states]``, float64; smaller is better.
        picks: of each state what was picked, nested pairs.
    """

    costs: Tensor
    losses: Tensor
    picks: list[Any]

    @staticmethod
    def of(costs: Sequence[float], loss: float, pick: Any) -> Front:
        """Return the front of one state."""
        row = torch.tensor([costs], dtype=torch.float64)
        return Front(row, torch.tensor([loss], dtype=torch.float64), [pick])

    def plus(self, other: Front, limits: Tensor) -> Front:
        """Return the best of all sums of a state of each front, within the limits."""
        costs = (self.costs[:, None] + other.costs[None]).flatten(0, 1)
        losses = (self.losses[:, None] + other.losses[None]).flatten()
        kept = _best(costs, losses, limits)
        width = len(other.picks)
        pairs = [(self.picks[i // width], other.picks[i % width]) for i in kept.tolist()]
        return Front(costs[kept], losses[kept], pairs)

    def joined(self, other: Front, limits: Tensor) -> Front:
        """Return the best states of both fronts, within the limits."""
        costs = torch.cat([self.costs, other.costs])
        losses = torch.cat([self.losses, other.losses])
        kept = _best(costs, losses, limits)
        picks = [*self.picks, *other.picks]
        return Front(costs[kept], losses[kept], [picks[i] for i in kept.tolist()])

    def best(self) -> Any:
        """Return the picks of the state that loses least; None where there is no state."""
        return self.picks[int(self.losses.argmin())] if self.picks else None


def _best(costs: Tensor, losses: Tensor, limits: Tensor) -> Tensor:
    """Return the indices of the states worth keeping."""
    order = losses.argsort(stable=True)
    order = order[costs[order].sum(dim=1).argsort(stable=True)]
    order = order[(costs[order] <= limits).all(dim=1)]
    # Sorted by cost: a state can only be dominated by one before it.
    kept = _of_one_cost(order, losses) if costs.shape[1] == 1 else _of_many(order, costs, losses)
    if len(kept) <= LARGEST:
        return kept
    # Both ends stay: the cheapest state, so that a way is found where there is one, and the best.
    return kept[torch.linspace(0, len(kept) - 1, LARGEST).round().long()]


def _of_one_cost(order: Tensor, losses: Tensor) -> Tensor:
    best_before = losses[order].cummin(dim=0).values.roll(1)
    if len(order):
        best_before[0] = torch.inf
    return order[losses[order] < best_before]


def _of_many(order: Tensor, costs: Tensor, losses: Tensor) -> Tensor:
    figures = torch.cat([costs, losses[:, None]], dim=1)
    kept = order[:0]
    for start in range(0, len(order), _CHUNK):
        chunk = order[start : start + _CHUNK]
        chunk = chunk[~_dominated(figures[chunk], figures[kept]).any(dim=1)]
        among = _dominated(figures[chunk], figures[chunk]).tril(-1)
        kept = torch.cat([kept, chunk[~among.any(dim=1)]])
    return kept


def _dominated(ours: Tensor, theirs: Tensor) -> Tensor:
    """Return ``[ours, theirs]``: whether theirs is no worse in any figure."""
    return (theirs[None] <= ours[:, None]).all(dim=2)
