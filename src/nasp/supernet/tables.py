"""Which edges a network has, in which tables their alphas stand, and which end in one node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from nasp.errors import UsageError
from nasp.supernet.choice import Choice, Node
from nasp.supernet.proximal import NodeGroup


@dataclass(frozen=True)
class Table:
    """One tensor of alphas ``[edges, candidates]``: which edges, which candidate operations.

    Attributes:
        search_only: the numbers of the candidates that never survive; see `Choice`.
    """

    name: str
    edges: tuple[str, ...]
    candidates: tuple[str, ...]
    search_only: tuple[int, ...] = ()

    @property
    def surviving(self) -> list[int]:
        """The numbers of the candidates that can survive."""
        return [k for k in range(len(self.candidates)) if k not in self.search_only]


def choices_by_edge(network: nn.Module) -> dict[str, list[Choice]]:
    """Return the choices of a network by their edge's name, in order of appearance.

    Raises:
        UsageError: there is none, or a share has the name of another choice's place.
    """
    found: dict[str, list[Choice]] = {}
    for path, module in network.named_modules():
        if isinstance(module, Choice):
            edge = module.share or path or "network"
            sharing = found.setdefault(edge, [])
            sharing.append(module)
            if sharing[0].share != module.share:
                raise UsageError(
                    f"Edge '{edge}' is both the place of a choice and the share of another:"
                    " give the share another name."
                )
    if not found:
        raise UsageError(
            "The network has nothing to search: put a nasp.Choice where a layer is still open."
        )
    return found


def tables_of(choices: Mapping[str, list[Choice]]) -> dict[str, Table]:
    """Return the tables that edges make up.

    Raises:
        UsageError: choices of one table differ in their candidates.
    """
    edges_of: dict[str, list[str]] = {}
    for edge, sharing in choices.items():
        table = edge.rpartition("/")[0] if sharing[0].share is not None else ""
        edges_of.setdefault(table or edge, []).append(edge)
    tables = {}
    for name, edges in edges_of.items():
        first = choices[edges[0]][0]
        candidates = first.names
        for edge in edges:
            for choice in choices[edge]:
                if choice.names != candidates:
                    raise UsageError(
                        f"Edge '{edge}' has the candidates {', '.join(choice.names)}, but"
                        f" '{edges[0]}', which shares its table '{name}', has"
                        f" {', '.join(candidates)}: give both the same, or different tables."
                    )
                if choice.search_only != first.search_only:
                    raise UsageError(
                        f"Edge '{edge}' and '{edges[0]}', which share the table '{name}', must have"
                        " the same candidates as search_only."
                    )
        search_only = tuple(k for k, c in enumerate(candidates) if c in first.search_only)
        tables[name] = Table(name, tuple(edges), candidates, search_only)
    return tables


def node_groups(network: nn.Module, choices: Mapping[str, list[Choice]]) -> list[NodeGroup]:
    """Return the node groups of a network, over all edges, table after table.

    Raises:
        UsageError: an edge in two different groups, or twice in one.
    """
    edge_of = {id(choice): edge for edge, sharing in choices.items() for choice in sharing}
    order = [edge for table in tables_of(choices).values() for edge in table.edges]
    position = {edge: index for index, edge in enumerate(order)}
    groups: dict[int, NodeGroup] = {}
    for module in network.modules():
        if not isinstance(module, Node):
            continue
        names = [edge_of[id(choice)] for choice in module.choices]
        if len(set(names)) < len(names):
            raise UsageError(f"A Node has two edges that share one row: {', '.join(names)}.")
        group = NodeGroup(tuple(position[name] for name in names), module.keep)
        for edge in group.edges:
            if groups.setdefault(edge, group) != group:
                raise UsageError(
                    f"Edge '{order[edge]}' belongs to two different Nodes: choices that share a"
                    " row must stand in Nodes of the same edges and the same keep."
                )
    return list(dict.fromkeys(groups.values()))
