"""The nearest architecture within bounds: a knapsack over the edges, by dynamic programming."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from nasp.complexity.front import Front
from nasp.complexity.table import CostTable, Parent
from nasp.supernet.architecture import Architecture
from nasp.supernet.proximal import NodeGroup
from nasp.supernet.supernet import Alphas, Supernet

TIE = 1e-6
"""What decides between alphas that are equal; too little to decide between others."""

Picks = dict[int, int]
"""Edge -> candidate, of the edges that are on and not inside what is not chosen."""


def nearest_within(
    alphas: Mapping[str, Tensor], tables: Sequence[CostTable], limits: Sequence[float]
) -> Picks | None:
    """Return the picks that keep the largest sum of alphas within all limits.

    Without limits that is prox_C1 with node groups: each edge's largest alpha, and each node's
    strongest edges. It is exact where fronts stay small (`nasp.complexity.front`).

    Args:
        alphas: table -> ``[edges, candidates]``.
        tables: costs of one supernet, at least one.
        limits: of each table, the most that a network may cost.

    Returns:
        None where no architecture is within the limits.
    """
    rows = [row.tolist() for name in tables[0].tables for row in alphas[name].detach().cpu()]
    grouped = {edge for group in tables[0].groups for edge in group.edges}
    losses = [
        [(0.0 if edge in grouped else max(row)) - a for a in row] for edge, row in enumerate(rows)
    ]
    offsets = {
        group: sum(sorted((max(rows[e]) for e in group.edges), reverse=True)[: group.keep])
        for group in tables[0].groups
    }
    return _Programme(tables, limits, losses, offsets).solve()


def cheapest(table: CostTable) -> Picks:
    """Return the picks of the cheapest architecture."""
    losses = [list(own) for own in table.own]
    free = dict.fromkeys(table.groups, 0.0)
    picks = _Programme([table], [float("inf")], losses, free).solve()
    return picks or {}


@dataclass(frozen=True)
class _Programme:
    """Fronts of the edges inside a candidate, from the inside out."""

    tables: Sequence[CostTable]
    limits: Sequence[float]
    losses: Sequence[Sequence[float]]
    offsets: Mapping[NodeGroup, float]

    def solve(self) -> Picks | None:
        best = self._inside(None).best()
        return None if best is None else dict(_flat(best))

    @property
    def room(self) -> Tensor:
        left = [limit - table.fixed for table, limit in zip(self.tables, self.limits, strict=True)]
        return torch.tensor(left, dtype=torch.float64) + 1e-9 * torch.tensor(self.limits).double()

    def _inside(self, parent: Parent | None) -> Front:
        """Return the front of all edges that lie in a candidate."""
        start = Front.of([0.0] * len(self.tables), 0.0, ())
        units = [self._group(group) for group in self._groups_in(parent)]
        units += [self._edge(edge) for edge in self._lone_edges_in(parent)]
        return reduce(lambda front, unit: front.plus(unit, self.room), units, start)

    def _edge(self, edge: int) -> Front:
        fronts = []
        for k in self.tables[0].surviving(edge):
            costs = [table.own[edge][k] for table in self.tables]
            own = Front.of(costs, self.losses[edge][k], (edge, k))
            fronts.append(own.plus(self._inside((edge, k)), self.room))
        return reduce(lambda one, other: one.joined(other, self.room), fronts)

    def _group(self, group: NodeGroup) -> Front:
        """Return the front of a node: by[n] is that of the first edges with n of them on."""
        by = [Front.of([0.0] * len(self.tables), self.offsets[group], ())]
        for edge in group.edges:
            on = [front.plus(self._edge(edge), self.room) for front in by[: group.keep]]
            by = [
                *(by[:1]),
                *(off.joined(one, self.room) for off, one in zip(by[1:], on, strict=False)),
                *(on[len(by) - 1 :]),
            ]
        return by[group.keep]

    def _groups_in(self, parent: Parent | None) -> list[NodeGroup]:
        return [g for g in self.tables[0].groups if self._parent_of(g) == parent]

    def _parent_of(self, group: NodeGroup) -> Parent | None:
        parents = {self.tables[0].parents[edge] for edge in group.edges}
        return parents.pop() if len(parents) == 1 else None

    def _lone_edges_in(self, parent: Parent | None) -> list[int]:
        grouped = {edge for group in self.tables[0].groups for edge in group.edges}
        return [edge for edge in self.tables[0].children(parent) if edge not in grouped]


def architecture_of(supernet: Supernet, alphas: Mapping[str, Tensor], picks: Picks) -> Architecture:
    """Return the picks as an architecture; the edges that do not matter go by their alphas."""
    strongest = supernet.discretise(alphas, torch.Generator().manual_seed(0))
    edges = dict(supernet.architecture(strongest).edges)
    for group in supernet.groups:
        if picks.keys() & set(group.edges):
            edges |= {supernet.edges[edge]: None for edge in group.edges}
    names = [table.candidates for table in supernet.tables.values() for _ in table.edges]
    edges |= {supernet.edges[edge]: names[edge][k] for edge, k in picks.items()}
    return Architecture(edges, supernet.space)


def leaning(supernet: Supernet, alphas: Mapping[str, Tensor], to: Architecture) -> Alphas:
    """Return the alphas with an architecture's own raised to the largest beside them.

    So that it is the strongest path, and what is nearest to it changes no more than it must: a
    strategy may hold on to candidates whose alphas are no longer the largest.
    """
    leant = {name: a.detach().clone() for name, a in alphas.items()}
    rows = [row for name in supernet.tables for row in leant[name]]
    point = supernet.one_hot(supernet.path(to))
    held = [row for rows_of in point.values() for row in rows_of.bool()]
    tops = [row.max().clone() for row in rows]
    for group in supernet.groups:
        highest = torch.stack([tops[edge] for edge in group.edges]).max()
        for edge in group.edges:
            tops[edge] = highest
    for row, chosen, top in zip(rows, held, tops, strict=True):
        row[chosen] = top + TIE
    return leant


def _flat(picks: Any) -> Iterator[tuple[int, int]]:
    waiting = [picks]
    while waiting:
        match waiting.pop():
            case (int(edge), int(k)):
                yield edge, k
            case pair:
                waiting.extend(pair)
