"""The nearest architecture within bounds: an integer programme over edges and candidates.

A variable says whether an edge holds a candidate. Of a lone edge one is 1, of a node group `keep`;
inside a candidate that is not chosen all are 0. Another says whether something is paid that several
candidates have in common: it is at least as large as theirs. HiGHS solves it to the optimum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor

from nasp.complexity.table import CostTable, Parent
from nasp.supernet.path import Path
from nasp.supernet.proximal import NodeGroup
from nasp.supernet.supernet import Alphas, Supernet

TIE = 1e-6
"""What decides between alphas that are equal; too little to decide between others."""
_SHARPNESS = 1e6
"""What the objective is multiplied by: HiGHS takes values within 1e-6 of each other for equal."""
_ROUGH = {"mip_rel_gap": 1e-4, "time_limit": 10.0}
"""Where the costs themselves are the objective: their sums lie too close to tell all apart."""
_ROUNDING = 1e-9
"""By what share of itself a limit may be passed, since costs are sums of floats."""

Array = NDArray[np.float64]


def nearest_within(
    supernet: Supernet,
    alphas: Mapping[str, Tensor],
    tables: Sequence[CostTable],
    limits: Sequence[float],
    least: Sequence[float] | None = None,
) -> Path | None:
    """Return the path that keeps the largest sum of alphas within all limits; None: there is none.

    See `ranked_within`.
    """
    return next(ranked_within(supernet, alphas, tables, limits, least), None)


def ranked_within(
    supernet: Supernet,
    alphas: Mapping[str, Tensor],
    tables: Sequence[CostTable],
    limits: Sequence[float],
    least: Sequence[float] | None = None,
) -> Iterator[Path]:
    """Yield the paths within all limits, that of the largest sum of alphas first.

    Without limits the first is prox_C1 with node groups: each edge's largest alpha, and each node's
    strongest edges. Edges inside a candidate that is not chosen cost nothing, and go by their
    alphas.

    Args:
        supernet: whose paths they are.
        alphas: table -> ``[edges, candidates]``.
        tables: costs of this supernet, at least one.
        limits: of each table, the most that a network may cost.
        least: of each table, the least that it must cost; default nothing.
    """
    rows = [row.tolist() for name in supernet.tables for row in alphas[name].detach()]
    programme = _Programme(tables)
    # A lone edge loses what it falls short of its largest alpha, a node of those of its strongest.
    losses = programme.each(lambda edge, k: -rows[edge][k])
    for edge, parent in programme.lone.items():
        programme.add(losses, parent, max(rows[edge]))
    for group, parent in programme.groups.items():
        largest = sorted((max(rows[edge]) for edge in group.edges), reverse=True)
        programme.add(losses, parent, sum(largest[: group.keep]))
    for picks in programme.solutions(losses, tables, limits, least):
        yield _filled(supernet, alphas, picks)


def cheapest(supernet: Supernet, table: CostTable) -> Path:
    """Return the path whose network costs least."""
    programme = _Programme([table])
    costs = programme.costs(table)
    picks = next(programme.solutions(costs / max(costs.max(), 1e-300), [], []))
    return _filled(supernet, supernet.alphas, picks)


def closest(supernet: Supernet, table: CostTable, amount: float) -> Path:
    """Return the path whose network costs nearest to an amount, to a share of 1e-4."""
    programme = _Programme([table])
    costs = programme.costs(table)
    losses = costs / max(costs.max(), 1e-300)
    found = [
        *islice(programme.solutions(-losses, [table], [amount], rough=True), 1),
        *islice(programme.solutions(losses, [table], [np.inf], [amount], rough=True), 1),
    ]
    paths = [_filled(supernet, supernet.alphas, picks) for picks in found]
    return min(paths, key=lambda path: abs(table.of(path) - amount))


def leaning(supernet: Supernet, alphas: Mapping[str, Tensor], to: Path) -> Alphas:
    """Return the alphas with those of a path raised to the largest beside them.

    So that it is the strongest path, and what is nearest to it changes no more than it must: a
    strategy may hold on to candidates whose alphas are no longer the largest.
    """
    leant = {name: a.detach().clone() for name, a in alphas.items()}
    rows = [row for name in supernet.tables for row in leant[name]]
    tops = [row.max().clone() for row in rows]
    for group in supernet.groups:
        highest = torch.stack([tops[edge] for edge in group.edges]).max()
        for edge in group.edges:
            tops[edge] = highest
    for row, k, top in zip(rows, to, tops, strict=True):
        if k is not None:
            row[k] = top + TIE
    return leant


class _Programme:
    """The paths of a supernet, as the 0-1 points of linear constraints.

    Args:
        tables: the first says which candidates can survive, and what lies in what.

    Attributes:
        lone: edge -> the candidate that it lies in, of edges in no node group.
        groups: node group -> the candidate that it lies in.
    """

    def __init__(self, tables: Sequence[CostTable]) -> None:
        table = tables[0]
        self.common = [(of, each) for of in tables for each in of.common]
        self.variables = [(e, k) for e in range(len(table.own)) for k in table.surviving(e)]
        self.place = {variable: index for index, variable in enumerate(self.variables)}
        self._edges = np.array([edge for edge, _ in self.variables] + [-1] * len(self.common))
        grouped = {edge for group in table.groups for edge in group.edges}
        self.lone = {e: p for e, p in enumerate(table.parents) if e not in grouped}
        self.groups: dict[NodeGroup, Parent | None] = {}
        for group in table.groups:
            parents = {table.parents[edge] for edge in group.edges}
            self.groups[group] = parents.pop() if len(parents) == 1 else None

    def each(self, value: Callable[[int, int], float]) -> Array:
        """Return a number for each candidate, ``value(edge, candidate)``, and 0 for the rest."""
        row = np.zeros(len(self._edges))
        row[: len(self.variables)] = [value(edge, k) for edge, k in self.variables]
        return row

    def costs(self, table: CostTable) -> Array:
        """Return what each candidate costs where it is chosen, and what they have in common."""
        row = self.each(lambda edge, k: table.own[edge][k])
        row[len(self.variables) :] = [each.amount * (of is table) for of, each in self.common]
        return row

    def add(self, row: Array, parent: Parent | None, value: float) -> None:
        """Add a value that counts where a candidate is chosen; None: it is a constant."""
        if parent in self.place:
            row[self.place[parent]] += value

    def solutions(
        self,
        losses: Array,
        tables: Sequence[CostTable],
        limits: Sequence[float],
        least: Sequence[float] | None = None,
        rough: bool = False,
    ) -> Iterator[dict[int, int]]:
        """Yield edge -> candidate, of the edges that are on and matter; what loses least first."""
        within = self._structure()
        costs = [self.costs(table) for table in tables]
        rooms = [n * (1 + _ROUNDING) - t.fixed for t, n in zip(tables, limits, strict=True)]
        needs = [n * (1 - _ROUNDING) - t.fixed for t, n in zip(tables, least or [], strict=False)]
        needs += [-np.inf] * (len(tables) - len(needs))
        ranges = list(zip(costs, needs, rooms, strict=True))
        for row, need, room in ranges:
            if np.isfinite([need, room]).any():
                finite = max(abs(each) for each in (need, room) if np.isfinite(each))
                size = max(finite, row.max(), 1e-300)
                within.append(LinearConstraint(row / size, need / size, room / size))
        while True:
            found = milp(
                losses if rough else _SHARPNESS * losses,
                integrality=np.ones(len(losses)),
                bounds=Bounds(0, 1),
                constraints=within,
                options=_ROUGH if rough else {"mip_rel_gap": 0.0},
            )
            if found.x is None:
                return
            on = np.round(found.x)
            if all(need <= row @ on <= room for row, need, room in ranges):
                yield {e: k for (e, k), is_on in zip(self.variables, on, strict=False) if is_on}
            # Next any point but this one, also where it is too dear, within the solver's tolerance.
            within.append(LinearConstraint(on, -np.inf, on.sum() - 1))

    def _structure(self) -> list[LinearConstraint]:
        """Return one of an edge, `keep` of a node, and none inside what is not chosen."""
        units: list[tuple[tuple[int, ...], int, Parent | None]] = [
            *(((edge,), 1, parent) for edge, parent in self.lone.items()),
            *((group.edges, group.keep, parent) for group, parent in self.groups.items()),
        ]
        constraints = []
        for edges, keep, parent in units:
            row = np.isin(self._edges, edges).astype(np.float64)
            self.add(row, parent, -keep)
            exactly = keep if parent is None else 0
            constraints.append(LinearConstraint(row, exactly, exactly))
            for edge in edges if len(edges) > 1 else ():
                constraints.append(LinearConstraint(self._edges == edge, -np.inf, 1))
        for index, (_, each) in enumerate(self.common, start=len(self.variables)):
            # Counted where any of its holders is chosen, and nowhere else.
            holders = [self.place[h] for h in self.place.keys() & set(each.holders)]
            at_most = np.zeros(len(self._edges))
            at_most[[index, *holders]] = 1, *[-1] * len(holders)
            constraints.append(LinearConstraint(at_most, -np.inf, 0))
            for holder in holders:
                row = np.zeros(len(self._edges))
                row[[holder, index]] = 1, -1
                constraints.append(LinearConstraint(row, -np.inf, 0))
        return constraints


def _filled(supernet: Supernet, alphas: Mapping[str, Tensor], picks: Mapping[int, int]) -> Path:
    """Return the picks as a path; the edges that do not matter go by their alphas."""
    path = list(supernet.discretise(alphas, torch.Generator().manual_seed(0)))
    for group in supernet.groups:
        if picks.keys() & set(group.edges):
            for edge in group.edges:
                path[edge] = None
    for edge, k in picks.items():
        path[edge] = k
    return tuple(path)
