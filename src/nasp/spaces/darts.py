"""DARTS's space of image cells, and DARTS's genotype notation.

Source: Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", ICLR 2019; NASP (AAAI
2020) calls its own use of it the space of 7 operations, since it leaves out DARTS's ``none``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import nn

from nasp.errors import UsageError
from nasp.spaces.cell import (
    INPUTS,
    KINDS,
    NODES,
    Sum,
    auxiliary_head,
    cell_network,
    edge_name,
    edge_stride,
)
from nasp.spaces.genotype import genotype_fields, pairs_of
from nasp.spaces.operations import Candidate, derived, on_edge, pick
from nasp.spaces.space import SMALL, NetworkConfig, Wire, checked_edges
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice, Node

KEEP = 2
"""Edges that survive at each node."""


@dataclass(frozen=True, eq=False)
class CellSpace:
    """A space of normal and reduction cells as DARTS's, with candidate operations of its own.

    Attributes:
        name: the name on the command line.
        normal: the candidate operations of normal cells.
        reduce: the candidate operations of reduction cells.
    """

    name: str
    normal: Mapping[str, Candidate]
    reduce: Mapping[str, Candidate]
    data: str = field(default="images", init=False)
    small: NetworkConfig = field(default=SMALL, init=False)

    def supernet(self, config: NetworkConfig) -> nn.Module:
        """Return a network with a `Choice` on every edge; [B,C,H,W] to [B,classes].

        Raises:
            UsageError: ``config.cells`` is less than 2, or the channels cannot be split.
        """

        def node(kind: str, index: int, channels: int) -> tuple[nn.Module, Sequence[int]]:
            sources = range(INPUTS + index)
            edges = []
            for source in sources:
                stride = edge_stride(kind, source)
                candidates = self._candidates(kind)
                modules = on_edge(candidates, channels, stride, True, config)
                edges.append(Choice(modules, share=edge_name(kind, index, source)))
            return Node(edges, keep=KEEP), sources

        return cell_network(config, affine=config.as_derived, make_node=node)

    def network(self, architecture: Architecture, config: NetworkConfig) -> nn.Module:
        """Return the derived network with fresh weights; [B,C,H,W] to [B,classes].

        Raises:
            UsageError: the architecture does not belong to this space, or ``config.cells`` is
                less than 2.
        """
        kept = self._kept(architecture)

        def node(kind: str, index: int, channels: int) -> tuple[nn.Module, Sequence[int]]:
            table, drop_path = self._candidates(kind), config.drop_path
            edges = [
                derived(table[name], channels, edge_stride(kind, source), drop_path)
                for name, source in kept[kind][index]
            ]
            return Sum(edges), [source for _, source in kept[kind][index]]

        return cell_network(config, affine=True, make_node=node)

    def auxiliary_head(self, config: NetworkConfig) -> tuple[str, nn.Module]:
        """Return the cell at 2/3 of the depth to tap, and DARTS's auxiliary head for it."""
        return auxiliary_head(config)

    def notation(self, architecture: Architecture) -> str:
        """Return the architecture as DARTS writes it: ``Genotype(normal=[('op', 0), ...], ...)``.

        Raises:
            UsageError: the architecture does not belong to this space.
        """
        kept = self._kept(architecture)
        fields = []
        for kind in KINDS:
            pairs = [pair for node in kept[kind] for pair in node]
            fields += [f"{kind}={pairs}", f"{kind}_concat={range(INPUTS, INPUTS + NODES)}"]
        return f"Genotype({', '.join(fields)})"

    def parse(self, text: str) -> Architecture:
        """Read a DARTS genotype, with or without the name that it is assigned to.

        Each of normal and reduce is a list of eight pairs of a candidate operation and where its
        edge starts, two pairs for each node; the order of the two does not matter.

        Raises:
            UsageError: the text is no genotype of this space.
        """
        fields = genotype_fields(text, [n for kind in KINDS for n in (kind, f"{kind}_concat")])
        edges: dict[str, str | None] = {}
        for kind in KINDS:
            if fields[f"{kind}_concat"] != list(range(INPUTS, INPUTS + NODES)):
                raise UsageError(f"The genotype's {kind}_concat must be range(2, 6).")
            pairs = pairs_of(fields[kind], kind, KEEP * NODES)
            for node in range(NODES):
                here = pairs[KEEP * node : KEEP * (node + 1)]
                named = {source: name for name, source in here}
                if len(named) != KEEP or not named.keys() <= set(range(INPUTS + node)):
                    raise UsageError(
                        f"The genotype's {kind} node {node} needs {KEEP} different inputs out of "
                        f"0 to {INPUTS + node - 1}, not {here[0][1]} and {here[1][1]}."
                    )
                for source in range(INPUTS + node):
                    edges[edge_name(kind, node, source)] = named.get(source)
        architecture = Architecture(edges, self.name)
        self._kept(architecture)
        return architecture

    def wiring(self, architecture: Architecture) -> list[Wire]:
        """Return the surviving edges; see `Space.wiring`."""
        names = ["c_{k-2}", "c_{k-1}", *(f"node {node}" for node in range(NODES))]
        return [
            Wire(kind, names[source], names[INPUTS + node], operation)
            for kind, nodes in self._kept(architecture).items()
            for node, pairs in enumerate(nodes)
            for operation, source in pairs
        ]

    def _candidates(self, kind: str) -> Mapping[str, Candidate]:
        return self.normal if kind == "normal" else self.reduce

    def _kept(self, architecture: Architecture) -> dict[str, list[list[tuple[str, int]]]]:
        """Return, for each kind and node, the candidates and sources of its surviving edges."""
        places = [
            (k, n, source) for k in KINDS for n in range(NODES) for source in range(INPUTS + n)
        ]
        table = {edge_name(*place): self._candidates(place[0]) for place in places}
        chosen = checked_edges(architecture, self.name, table)
        kept: dict[str, list[list[tuple[str, int]]]] = {}
        for kind in KINDS:
            kept[kind] = []
            for node in range(NODES):
                ends = [(chosen[edge_name(kind, node, s)], s) for s in range(INPUTS + node)]
                on = [(name, source) for name, source in ends if name is not None]
                if len(on) != KEEP:
                    raise UsageError(
                        f"The architecture has {len(on)} edges at {kind} node {node}: exactly "
                        f"{KEEP} must survive there."
                    )
                kept[kind].append(on)
        return kept


_SEVEN = pick(
    [
        "max_pool_3x3",
        "avg_pool_3x3",
        "skip_connect",
        "sep_conv_3x3",
        "sep_conv_5x5",
        "dil_conv_3x3",
        "dil_conv_5x5",
    ]
)
DARTS = CellSpace("darts", normal=_SEVEN, reduce=_SEVEN)
"""The space of 7 operations, the same in normal and reduction cells."""
