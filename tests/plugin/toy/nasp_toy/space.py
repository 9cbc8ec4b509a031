"""A space of nine networks: residual cells of two edges, with three candidates on each."""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import Tensor, nn

from nasp import Architecture, Choice, UsageError
from nasp.spaces import NetworkConfig, NotationError, Wire, checked_edges
from nasp.spaces.cell import cifar_stem, classifier, imagenet_stems
from nasp.spaces.operations import derived, on_edge, pick

CANDIDATES = pick(["conv_1x1", "conv_3x3", "avg_pool_3x3"])
EDGES = ("cell/0", "cell/1")


class ToyCell(nn.Module):
    """Two edges in a row, and a shortcut around them; maps [B,C,H,W] to the same shape.

    Args:
        first: the module on the first edge.
        second: the module on the second edge.
    """

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, x: Tensor) -> Tensor:
        """Return the input and what the edges make of it, summed."""
        out: Tensor = x + self.second(self.first(x))
        return out


class Toy:
    """The space; all cells share the candidates of the two edges."""

    name = "toy"
    data = "images"
    small = NetworkConfig(channels=4, cells=2, image_size=8)

    def supernet(self, config: NetworkConfig) -> nn.Module:
        """Return a network with a `Choice` on every edge."""

        def edge(name: str) -> nn.Module:
            return Choice(on_edge(CANDIDATES, config.channels, 1, False, config), share=name)

        return network_of(config, edge)

    def network(self, architecture: Architecture, config: NetworkConfig) -> nn.Module:
        """Return the derived network with fresh weights."""
        chosen = chosen_in(architecture)

        def edge(name: str) -> nn.Module:
            return derived(CANDIDATES[chosen[name]], config.channels, 1, config.drop_path)

        return network_of(config, edge)

    def auxiliary_head(self, config: NetworkConfig) -> None:
        """Return None: there is none."""

    def notation(self, architecture: Architecture) -> str:
        """Return ``toy(operation, operation)``."""
        return f"toy({', '.join(chosen_in(architecture).values())})"

    def parse(self, text: str) -> Architecture:
        """Read that notation."""
        match = re.fullmatch(r"toy\((\w+), *(\w+)\)", text.strip())
        if match is None:
            raise NotationError("The text is no toy cell: write toy(operation, operation).")
        architecture = Architecture(dict(zip(EDGES, match.groups(), strict=True)), self.name)
        chosen_in(architecture)
        return architecture

    def wiring(self, architecture: Architecture) -> list[Wire]:
        """Return both edges."""
        first, second = chosen_in(architecture).values()
        return [
            Wire("cell", "input", "middle", first),
            Wire("cell", "middle", "output", second),
        ]


def chosen_in(architecture: Architecture) -> dict[str, str]:
    """Return what an architecture has on each edge; neither may be off."""
    chosen = {}
    for edge, name in checked_edges(
        architecture, Toy.name, dict.fromkeys(EDGES, CANDIDATES)
    ).items():
        if name is None:
            raise UsageError(f"The architecture lacks the edge '{edge}'.")
        chosen[edge] = name
    return chosen


def network_of(config: NetworkConfig, edge: Callable[[str], nn.Module]) -> nn.Module:
    """Return stem, cells and classifier; the modules on the edges are made by `edge`."""
    channels = config.channels
    stem = (
        cifar_stem(config.in_channels, channels)
        if config.stem == "cifar"
        else nn.Sequential(*imagenet_stems(config.in_channels, channels))
    )
    cells = [ToyCell(*map(edge, EDGES)) for _ in range(config.cells)]
    return nn.Sequential(stem, *cells, classifier(channels, config.classes))


TOY = Toy()
