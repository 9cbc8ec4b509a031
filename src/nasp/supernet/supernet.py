"""A module with choices inside, and its architecture parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nasp.errors import UsageError
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice, Mixture, Node, Probe, Run, Single
from nasp.supernet.probe.fused import FusedEdge, FusedPass
from nasp.supernet.proximal import NodeGroup, largest_entries, surviving_edges

Alphas = dict[str, Tensor]


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


class Supernet(nn.Module):
    """Finds the choices of a module and owns the alphas.

    The weights are the module's own parameters, the alphas the supernet's: the two never mix.

    Args:
        network: any module with at least one `Choice` inside; used as it is, not copied.
        space: the search space's name, kept in architectures; default None.

    Attributes:
        tables: the alphas' tables, by name, in order of appearance. Choices with
            ``share="normal/0"`` are edges of the table ``normal``; a choice without `share` is
            the only edge of a table that is named by its place in the module.
        groups: the node groups, over all edges in the order of `edges`.

    Raises:
        UsageError: no choice inside; edges of one table with different candidates; an edge in
            two different node groups.
    """

    def __init__(self, network: nn.Module, space: str | None = None) -> None:
        super().__init__()
        self.network = network
        self.space = space
        self._choices = _choices_by_edge(network)
        self.tables = _tables(self._choices)
        self.groups = _node_groups(network, self._choices)
        device = next((p.device for p in network.parameters()), torch.device("cpu"))
        self._alphas = nn.ParameterList(
            torch.full((len(table.edges), len(table.candidates)), 0.5, device=device)
            for table in self.tables.values()
        )

    @property
    def edges(self) -> tuple[str, ...]:
        """The names of all edges, table after table."""
        return tuple(edge for table in self.tables.values() for edge in table.edges)

    @property
    def alphas(self) -> dict[str, nn.Parameter]:
        """The architecture parameters: table -> ``[edges, candidates]``."""
        return dict(zip(self.tables, self._alphas, strict=True))

    def weights(self) -> list[nn.Parameter]:
        """Return the network's parameters that are to be trained, without the alphas."""
        return [weight for weight in self.network.parameters() if weight.requires_grad]

    def choices(self) -> Iterator[tuple[str, int, list[Choice]]]:
        """Yield table, row and the choices of every edge."""
        for table in self.tables.values():
            for row, edge in enumerate(table.edges):
                yield table.name, row, self._choices[edge]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the network, each edge as it was last told."""
        return self.network(*args, **kwargs)

    def discretise(
        self, alphas: Mapping[str, Tensor], generator: torch.Generator | None = None
    ) -> Alphas:
        """Return prox_C1 of the alphas with the kept entries on: one-hot rows, zero where off.

        A candidate that is `search_only` is never kept.

        Args:
            alphas: table -> ``[edges, candidates]``.
            generator: breaks ties uniformly; default torch's global one.
        """
        eligible = {name: self._eligible(name, a.detach()) for name, a in alphas.items()}
        chosen = {name: largest_entries(a, generator) for name, a in eligible.items()}
        strengths = torch.cat([a.amax(dim=1) for a in eligible.values()])
        surviving = surviving_edges(strengths, self.groups, generator)
        rows = torch.split(surviving, [len(table.edges) for table in self.tables.values()])
        return {
            name: (chosen[name] & on[:, None]).to(alphas[name].dtype)
            for name, on in zip(self.tables, rows, strict=True)
        }

    def random_path(self, generator: torch.Generator | None = None) -> Alphas:
        """Return a uniformly random discrete point: every entry ties with every other."""
        return self.discretise({n: torch.zeros_like(a) for n, a in self.alphas.items()}, generator)

    def single(self, path: Mapping[str, Tensor]) -> None:
        """Run the chosen candidates alone from now on; `path` is discrete."""
        for name, row, chosen in self._chosen(path):
            self._set(name, row, Single(chosen))

    def probe(
        self, path: Mapping[str, Tensor], fused: bool = True, fixed_weights: bool = False
    ) -> Alphas:
        """Run the chosen candidates, and give the returned leaves every candidate's gradient.

        Args:
            path: discrete.
            fused: let unchosen candidates share work and leave out what their gradient does not
                need (`nasp.supernet.probe.fused`); False runs each as it is, for the same gradient.
            fixed_weights: the weights of chosen candidates need no gradient: the fused probe then
                leaves out what it would have to keep and compute for one.
        """
        leaves = {name: a.detach().clone().requires_grad_() for name, a in path.items()}
        rows = {name: leaf.unbind() for name, leaf in leaves.items()}
        fused_pass = FusedPass(list(leaves.values()), fixed_weights) if fused else None
        tables = {name: index for index, name in enumerate(leaves)}
        for name, row, chosen in self._chosen(path):
            for choice in self._choices[self.tables[name].edges[row]]:
                edge = None
                if fused_pass is not None:
                    edge = FusedEdge(fused_pass, tables[name], row, choice.fusible)
                choice.run = Probe(chosen, rows[name][row], edge)
        return leaves

    def mixture(
        self, weights: Mapping[str, Tensor], support: Mapping[str, Tensor] | None = None
    ) -> None:
        """Run candidates weighted and added up.

        Args:
            weights: table -> ``[edges, candidates]``.
            support: a discrete point: only the candidates run where it is not 0, and where it
                is 0 in a whole row, a node switched the edge off. Default: all run.
        """
        for name in self.tables:
            rows = None if support is None else support[name].tolist()
            for row, edge_weights in enumerate(weights[name].unbind()):
                kept = None if rows is None else tuple(k for k, on in enumerate(rows[row]) if on)
                self._set(name, row, Mixture(edge_weights, kept))

    def architecture(self, path: Mapping[str, Tensor]) -> Architecture:
        """Return a discrete point as an architecture."""
        edges = {
            self.tables[name].edges[row]: (
                None if chosen is None else self.tables[name].candidates[chosen]
            )
            for name, row, chosen in self._chosen(path)
        }
        return Architecture(edges, self.space)

    def path(self, architecture: Architecture) -> Alphas:
        """Return an architecture as a discrete point.

        Raises:
            UsageError: it has other edges or candidates than this supernet.
        """
        if set(architecture.edges) != set(self.edges):
            raise UsageError(
                f"The architecture has {len(architecture.edges)} edges, the network"
                f" {len(self.edges)}, or their names differ: they do not belong together."
            )
        path = {name: torch.zeros_like(a.detach()) for name, a in self.alphas.items()}
        for name, table in self.tables.items():
            for row, edge in enumerate(table.edges):
                candidate = architecture[edge]
                if candidate is None:
                    continue
                if candidate not in table.candidates:
                    raise UsageError(
                        f"Edge '{edge}' has no candidate '{candidate}':"
                        f" choose one of {', '.join(table.candidates)}."
                    )
                path[name][row, table.candidates.index(candidate)] = 1.0
        for group in self.groups:
            ends = [self.edges[edge] for edge in group.edges]
            if all(architecture[edge] is None for edge in ends):
                raise UsageError(
                    f"The architecture switches off every edge of a Node ({', '.join(ends)}):"
                    " one must stay."
                )
        return path

    def _eligible(self, table: str, alphas: Tensor) -> Tensor:
        """Return alphas, minus infinity for candidates that never survive."""
        left_out = torch.tensor(self.tables[table].search_only, dtype=torch.long)
        return alphas.index_fill(1, left_out.to(alphas.device), -torch.inf)

    def _chosen(self, path: Mapping[str, Tensor]) -> Iterator[tuple[str, int, int | None]]:
        for name in self.tables:
            rows, on = path[name].argmax(dim=1).tolist(), path[name].any(dim=1).tolist()
            for row, (candidate, is_on) in enumerate(zip(rows, on, strict=True)):
                yield name, row, candidate if is_on else None

    def _set(self, table: str, row: int, run: Run) -> None:
        for choice in self._choices[self.tables[table].edges[row]]:
            choice.run = run


def _choices_by_edge(network: nn.Module) -> dict[str, list[Choice]]:
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


def _tables(choices: Mapping[str, list[Choice]]) -> dict[str, Table]:
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


def _node_groups(network: nn.Module, choices: Mapping[str, list[Choice]]) -> list[NodeGroup]:
    edge_of = {id(choice): edge for edge, sharing in choices.items() for choice in sharing}
    order = [edge for table in _tables(choices).values() for edge in table.edges]
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
