"""The space of NAS-Bench-201: one cell of 6 edges, 5 operations, 15,625 cells in all.

Source: Dong, Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture
Search", ICLR 2020, section 2.1. Its own network has N = 5 cells a stage and C = 16 channels.
With one node less there are 3 edges and 125 cells: few enough to train each of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from nasp.errors import UsageError
from nasp.spaces.cell import cifar_stem, classifier, imagenet_stems
from nasp.spaces.operations import Candidate, derived, on_edge, pick, relu_conv_bn
from nasp.spaces.space import SMALL, NetworkConfig, NotationError, Wire, checked_edges
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice

NODES = 4
"""Nodes of a cell of the benchmark, its input among them."""
STAGES = 3
"""Stages of the network; each has twice the channels and half the resolution of the last."""


def dense_edges(nodes: int) -> tuple[tuple[int, int], ...]:
    """Return the edges of a cell in the order of its string: node of its end, node of its start.

    Args:
        nodes: of the cell, its input (node 0) among them.
    """
    return tuple((node, source) for node in range(1, nodes) for source in range(node))


class DenseCell(nn.Module):
    """A cell: each node is the sum of its edges, one from every earlier node; the last is out.

    Args:
        edges: the modules on `dense_edges(nodes)`, in that order, each of stride 1.
        nodes: of the cell, its input among them.
    """

    def __init__(self, edges: Sequence[nn.Module], nodes: int = NODES) -> None:
        super().__init__()
        self.edges = nn.ModuleList(edges)
        self.ends = dense_edges(nodes)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,C,H,W] to the same shape."""
        states: list[Tensor] = [x]
        for module, (node, source) in zip(self.edges, self.ends, strict=True):
            out = module(states[source])
            if node == len(states):
                states.append(out)
            else:
                states[node] = states[node] + out
        return states[-1]


class ResidualBlock(nn.Module):
    """The block between stages: [B,in,H,W] to [B,out,H/2,W/2], sizes rounded up.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            relu_conv_bn(in_channels, out_channels, 3, stride=2),
            relu_conv_bn(out_channels, out_channels, 3),
        )
        self.shortcut = nn.Sequential(
            # ceil_mode changes nothing for even sizes; for odd ones the body rounds up too.
            nn.AvgPool2d(2, ceil_mode=True),
            nn.Conv2d(in_channels, out_channels, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,in,H,W] to [B,out,H/2,W/2]."""
        out: Tensor = self.shortcut(x) + self.body(x)
        return out


@dataclass(frozen=True, eq=False)
class NASBench201:
    """The space of NAS-Bench-201; every edge survives, since ``none`` is a candidate.

    Attributes:
        name: the name on the command line.
        candidates: the candidate operations of every edge.
        nodes: of a cell, its input among them, at least 2; N nodes have N(N - 1)/2 edges.
    """

    name: str = "nasbench201"
    candidates: Mapping[str, Candidate] = field(
        default_factory=lambda: pick(
            ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
        )
    )
    nodes: int = NODES
    data: str = field(default="images", init=False)
    small: NetworkConfig = field(default=SMALL, init=False)

    def supernet(self, config: NetworkConfig) -> nn.Module:
        """Return a network with a `Choice` on every edge; [B,C,H,W] to [B,classes]."""

        def edge(index: int, channels: int) -> nn.Module:
            modules = on_edge(self.candidates, channels, 1, False, config)
            return Choice(modules, share=f"cell/{index}")

        return _network(self.nodes, config, edge)

    def network(self, architecture: Architecture, config: NetworkConfig) -> nn.Module:
        """Return the derived network with fresh weights; [B,C,H,W] to [B,classes].

        Raises:
            UsageError: the architecture does not belong to this space.
        """
        names = self._names(architecture)

        def edge(index: int, channels: int) -> nn.Module:
            return derived(self.candidates[names[index]], channels, 1, config.drop_path)

        return _network(self.nodes, config, edge)

    def auxiliary_head(self, config: NetworkConfig) -> None:
        """Return None: the benchmark's networks are trained without an auxiliary head."""
        del config

    def notation(self, architecture: Architecture) -> str:
        """Return the cell's string, with four nodes ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``.

        Raises:
            UsageError: the architecture does not belong to this space.
        """
        return self._string(self._names(architecture))

    def parse(self, text: str) -> Architecture:
        """Read the cell's string.

        Raises:
            UsageError: the text is no cell of this space.
        """
        example = self._string(["op"] * len(dense_edges(self.nodes)))
        match = re.fullmatch(re.escape(example).replace("op", "([^|~+]+)"), text.strip())
        if match is None:
            raise NotationError(
                f"The text is no NAS-Bench-201 cell: write {example} with an operation for each op."
            )
        edges = {f"cell/{index}": name for index, name in enumerate(match.groups())}
        architecture = Architecture(edges, self.name)
        self._names(architecture)
        return architecture

    def wiring(self, architecture: Architecture) -> list[Wire]:
        """Return the edges, ``none`` left out; see `Space.wiring`."""
        nodes = ["input", *(f"node {node}" for node in range(1, self.nodes - 1)), "output"]
        names, ends = self._names(architecture), dense_edges(self.nodes)
        return [
            Wire("cell", nodes[source], nodes[node], operation)
            for operation, (node, source) in zip(names, ends, strict=True)
            if operation != "none"
        ]

    def _string(self, names: Sequence[str]) -> str:
        nodes = ["|"] * (self.nodes - 1)
        for name, (node, source) in zip(names, dense_edges(self.nodes), strict=True):
            nodes[node - 1] += f"{name}~{source}|"
        return "+".join(nodes)

    def _names(self, architecture: Architecture) -> list[str]:
        """Return the candidate of each edge, in the order of `dense_edges`."""
        edges = [f"cell/{index}" for index in range(len(dense_edges(self.nodes)))]
        table = dict.fromkeys(edges, self.candidates)
        names = []
        for edge, name in checked_edges(architecture, self.name, table).items():
            if name is None:
                raise UsageError(f"The architecture lacks the edge '{edge}'.")
            names.append(name)
        return names


def _network(
    nodes: int, config: NetworkConfig, edge: Callable[[int, int], nn.Module]
) -> nn.Sequential:
    """Return the benchmark's network, its edges made by `edge` from their index and channels."""
    channels, edges = config.channels, range(len(dense_edges(nodes)))
    stem = (
        cifar_stem(config.in_channels, channels)
        if config.stem == "cifar"
        else nn.Sequential(*imagenet_stems(config.in_channels, channels))
    )
    body: list[nn.Module] = []
    for stage in range(STAGES):
        if stage > 0:
            body.append(ResidualBlock(channels, 2 * channels))
            channels *= 2
        for _ in range(config.cells):
            body.append(DenseCell([edge(index, channels) for index in edges], nodes))
    network = nn.Sequential()
    network.add_module("stem", stem)
    network.add_module("cells", nn.Sequential(*body))
    network.add_module("activation", nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU()))
    network.add_module("classifier", classifier(channels, config.classes))
    return network


NASBENCH201 = NASBench201()
"""The space of NAS-Bench-201."""

NASBENCH201_3 = NASBench201("nasbench201-3", nodes=3)
"""The same with 3 nodes: 3 edges, 125 cells."""
