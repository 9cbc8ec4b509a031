"""The space of NAS-Bench-201: one cell of 6 edges, 5 operations, 15,625 cells in all.

Source: Dong, Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture
Search", ICLR 2020, section 2.1. Its own network has N = 5 cells a stage and C = 16 channels.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from nasp.architecture import Architecture
from nasp.choice import Choice
from nasp.errors import UsageError, unknown_name
from nasp.spaces.cell import cifar_stem, classifier, imagenet_stems
from nasp.spaces.operations import Candidate, derived, pick, relu_conv_bn, searched
from nasp.spaces.space import NetworkConfig, Wire

NODES = 4
"""Nodes of a cell, its input among them."""
STAGES = 3
"""Stages of the network; each has twice the channels and half the resolution of the last."""
EDGES = tuple((node, source) for node in range(1, NODES) for source in range(node))
"""Node where the edge ends and where it starts, in the order of the cell's string."""

_OPERATION = "([^|~+]+)"
_CELL = re.compile(
    r"\+".join(
        r"\|" + "".join(rf"{_OPERATION}~{source}\|" for source in range(node))
        for node in range(1, NODES)
    )
)


class DenseCell(nn.Module):
    """A cell: each node is the sum of its edges, one from every earlier node; the last is out.

    Args:
        edges: the six modules on `EDGES`, in that order, each of stride 1.
    """

    def __init__(self, edges: Sequence[nn.Module]) -> None:
        super().__init__()
        self.edges = nn.ModuleList(edges)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,C,H,W] to the same shape."""
        states: list[Tensor] = [x]
        for module, (node, source) in zip(self.edges, EDGES, strict=True):
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
    """

    name: str = "nasbench201"
    candidates: Mapping[str, Candidate] = field(
        default_factory=lambda: pick(
            ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
        )
    )

    def supernet(self, config: NetworkConfig) -> nn.Module:
        """Return a network with a `Choice` on every edge; [B,C,H,W] to [B,classes]."""

        def edge(index: int, channels: int) -> nn.Module:
            modules = searched(self.candidates, channels, stride=1, norm_pools=False)
            return Choice(modules, share=f"cell/{index}")

        return _network(config, edge)

    def network(self, architecture: Architecture, config: NetworkConfig) -> nn.Module:
        """Return the derived network with fresh weights; [B,C,H,W] to [B,classes].

        Raises:
            UsageError: the architecture does not belong to this space.
        """
        names = self._names(architecture)

        def edge(index: int, channels: int) -> nn.Module:
            return derived(self.candidates[names[index]], channels, 1, config.drop_path)

        return _network(config, edge)

    def auxiliary_head(self, config: NetworkConfig) -> None:
        """Return None: the benchmark's networks are trained without an auxiliary head."""
        del config

    def notation(self, architecture: Architecture) -> str:
        """Return the cell's string, ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``.

        Raises:
            UsageError: the architecture does not belong to this space.
        """
        nodes = ["|"] * (NODES - 1)
        for name, (node, source) in zip(self._names(architecture), EDGES, strict=True):
            nodes[node - 1] += f"{name}~{source}|"
        return "+".join(nodes)

    def parse(self, text: str) -> Architecture:
        """Read the cell's string.

        Raises:
            UsageError: the text is no cell of this space.
        """
        match = _CELL.fullmatch(text.strip())
        if match is None:
            raise UsageError(
                "The text is no NAS-Bench-201 cell: write "
                "|op~0|+|op~0|op~1|+|op~0|op~1|op~2| with an operation for each op."
            )
        edges = {f"cell/{index}": name for index, name in enumerate(match.groups())}
        architecture = Architecture(edges, self.name)
        self._names(architecture)
        return architecture

    def wiring(self, architecture: Architecture) -> list[Wire]:
        """Return the edges, ``none`` left out; see `Space.wiring`."""
        nodes = ["input", *(f"node {node}" for node in range(1, NODES - 1)), "output"]
        return [
            Wire("cell", nodes[source], nodes[node], operation)
            for operation, (node, source) in zip(self._names(architecture), EDGES, strict=True)
            if operation != "none"
        ]

    def _names(self, architecture: Architecture) -> list[str]:
        """Return the candidate of each edge, in the order of `EDGES`."""
        if architecture.space != self.name:
            raise UsageError(
                f"The architecture is of space '{architecture.space}', not of '{self.name}'."
            )
        expected = [f"cell/{index}" for index in range(len(EDGES))]
        if extra := sorted(architecture.edges.keys() - set(expected)):
            raise UsageError(f"Space '{self.name}' has no edge '{extra[0]}'.")
        names = []
        for edge in expected:
            name = architecture.edges.get(edge)
            if name is None:
                raise UsageError(f"The architecture lacks the edge '{edge}'.")
            if name not in self.candidates:
                kind = f"candidate operation on edge '{edge}' of space '{self.name}'"
                raise unknown_name(kind, name, list(self.candidates))
            names.append(name)
        return names


def _network(config: NetworkConfig, edge: Callable[[int, int], nn.Module]) -> nn.Sequential:
    """Return the benchmark's network, its edges made by `edge` from their index and channels."""
    channels = config.channels
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
            body.append(DenseCell([edge(index, channels) for index in range(len(EDGES))]))
    network = nn.Sequential()
    network.add_module("stem", stem)
    network.add_module("cells", nn.Sequential(*body))
    network.add_module("activation", nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU()))
    network.add_module("classifier", classifier(channels, config.classes))
    return network


NASBENCH201 = NASBench201()
"""The space of NAS-Bench-201."""
