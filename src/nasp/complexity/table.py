"""What every candidate of every edge costs, and with them any network of the supernet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nasp.errors import NaspError
from nasp.supernet.path import Path
from nasp.supernet.proximal import NodeGroup
from nasp.supernet.supernet import Supernet
from nasp.supernet.tables import Table

Parent = tuple[int, int]
"""The edge, and which of its candidates, inside which another edge lies."""


class Common(NamedTuple):
    """What candidates of several edges hold together, such as tied weights.

    Attributes:
        holders: the edges, and which of their candidates.
        amount: what it costs, once, where any of them is chosen.
    """

    holders: tuple[Parent, ...]
    amount: float

    @property
    def edges(self) -> dict[int, list[int]]:
        """The holders by their edges."""
        edges: dict[int, list[int]] = {}
        for edge, k in self.holders:
            edges.setdefault(edge, []).append(k)
        return edges


@dataclass(frozen=True)
class CostTable:
    """Costs of one kind; an edge is numbered as in ``Supernet.edges``.

    Attributes:
        tables: the supernet's.
        groups: its node groups; an edge that is switched off costs nothing.
        own: ``own[edge][k]``, what candidate k costs without the choices inside it, summed over
            the edge's choices.
        parents: for each edge the candidate that it lies in, which must be chosen for it to
            cost; None where it always does.
        fixed: what all else in the network costs.
        common: what is no single edge's.
        is_exact: whether each edge lies in one candidate at most: one that lies in several, as in a
            block that they share, is taken to cost in any case, and for all of them.
    """

    tables: Mapping[str, Table]
    groups: tuple[NodeGroup, ...]
    own: tuple[tuple[float, ...], ...]
    parents: tuple[Parent | None, ...]
    fixed: float
    common: tuple[Common, ...] = ()
    is_exact: bool = True

    def of(self, path: Path) -> float:
        """Return what the network of a path costs: the fixed part and its candidates."""

        def counts(edge: int) -> bool:
            parent = self.parents[edge]
            return parent is None or (path[parent[0]] == parent[1] and counts(parent[0]))

        held = {(edge, k) for edge, k in enumerate(path) if k is not None and counts(edge)}
        together = sum(each.amount for each in self.common if not held.isdisjoint(each.holders))
        return self.fixed + sum(self.own[edge][k] for edge, k in held) + together

    def network(self, alphas: Mapping[str, Tensor]) -> Tensor:
        """Return what a network costs in which candidate k counts a_k times, with its graph.

        At a discrete point that is `of` its path, at probabilities of the candidates
        the expected cost.

        Args:
            alphas: table -> ``[edges, candidates]``.
        """
        rows = [row for table in self.tables for row in alphas[table].unbind()]
        cost = rows[0].new_tensor(self.fixed)
        for edge in self.children(None):
            cost = cost + self._mixed(edge, rows)
        for each in self.common:
            absent = rows[0].new_ones(())
            for edge, held in each.edges.items():
                absent = absent * (1 - self._reach(edge, rows) * rows[edge][held].sum())
            cost = cost + each.amount * (1 - absent)
        return cost

    def _reach(self, edge: int, rows: Sequence[Tensor]) -> Tensor:
        """Return how far the candidates that an edge lies in are chosen."""
        parent = self.parents[edge]
        if parent is None:
            return rows[edge].new_ones(())
        return self._reach(parent[0], rows) * rows[parent[0]][parent[1]]

    def _mixed(self, edge: int, rows: Sequence[Tensor]) -> Tensor:
        cost = (rows[edge] * rows[edge].new_tensor(self.own[edge])).sum()
        for k in range(len(self.own[edge])):
            for inner in self.children((edge, k)):
                cost = cost + rows[edge][k] * self._mixed(inner, rows)
        return cost

    def surviving(self, edge: int) -> list[int]:
        """Return the candidates that can survive on an edge."""
        return [t.surviving for t in self.tables.values() for _ in t.edges][edge]

    def children(self, parent: Parent | None) -> list[int]:
        """Return the edges that lie in a candidate; None: those that lie in none."""
        return self._children.get(parent, [])

    @cached_property
    def _children(self) -> dict[Parent | None, list[int]]:
        children: dict[Parent | None, list[int]] = {}
        for edge, parent in enumerate(self.parents):
            children.setdefault(parent, []).append(edge)
        return children

    def candidates(self) -> dict[str, Tensor]:
        """Return p_k, what each candidate costs: table -> ``[edges, candidates]``, float64.

        A choice inside a candidate counts with the mean of its own candidates, and of what
        several edges have in common each edge has an equal share.
        """
        whole = [self._whole(edge) for edge in range(len(self.own))]
        rows = iter(whole)
        return {
            name: torch.tensor([next(rows) for _ in table.edges], dtype=torch.float64)
            for name, table in self.tables.items()
        }

    def _whole(self, edge: int) -> list[float]:
        kept = {e: group.keep / len(group.edges) for group in self.groups for e in group.edges}
        costs = []
        for k, own in enumerate(self.own[edge]):
            for inner in self.children((edge, k)):
                each = self._whole(inner)
                own += kept.get(inner, 1.0) * sum(each) / len(each)
            shares = (c.amount / len(c.edges) for c in self.common if (edge, k) in c.holders)
            costs.append(own + sum(shares))
        return costs

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values: edge -> candidate -> cost, and what lies where."""
        edges = [edge for table in self.tables.values() for edge in table.edges]
        names = [table.candidates for table in self.tables.values() for _ in table.edges]
        return {
            "fixed": self.fixed,
            "edges": {
                edge: dict(zip(candidates, own, strict=True))
                for edge, candidates, own in zip(edges, names, self.own, strict=True)
            },
            "inside": {
                edges[edge]: {"edge": edges[parent[0]], "candidate": names[parent[0]][parent[1]]}
                for edge, parent in enumerate(self.parents)
                if parent is not None
            },
            "exact": self.is_exact,
            "common": [
                [each.amount, *([edges[e], names[e][k]] for e, k in each.holders)]
                for each in self.common
            ],
        }

    @staticmethod
    def from_dict(supernet: Supernet, figures: Mapping[str, Any]) -> CostTable:
        """Return the table of a supernet from what `as_dict` returned.

        Raises:
            NaspError: the figures are of another network.
        """
        names = {e: t.candidates for t in supernet.tables.values() for e in t.edges}
        try:
            own = [tuple(float(figures["edges"][e][k]) for k in names[e]) for e in names]
            inside = {
                edge: (supernet.edges.index(at["edge"]), names[at["edge"]].index(at["candidate"]))
                for edge, at in figures["inside"].items()
            }
            fixed = float(figures["fixed"])
            common = tuple(
                Common(
                    tuple((supernet.edges.index(e), names[e].index(k)) for e, k in holders), amount
                )
                for amount, *holders in figures.get("common", ())
            )
        except (KeyError, TypeError, ValueError) as error:
            raise NaspError(f"The measured costs are not of this network ({error!r}).") from error
        parents = tuple(inside.get(edge) for edge in supernet.edges)
        groups = tuple(supernet.groups)
        is_exact = bool(figures.get("exact", True))
        return CostTable(supernet.tables, groups, tuple(own), parents, fixed, common, is_exact)
