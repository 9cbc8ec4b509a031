"""A space of nine networks: residual cells of two edges, with three candidates on each."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from nasp import Architecture, Choice
from nasp.spaces import NetworkConfig
from nasp.spaces.cell import cifar_stem, classifier, imagenet_stems
from nasp.spaces.operations import derived, on_edge, pick
from nasp_toy.two_edges import EDGES, TwoEdges


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


class Toy(TwoEdges):
    """The space; all cells share the candidates of the two edges."""

    name = "toy"
    data = "images"
    small = NetworkConfig(channels=4, cells=2, image_size=8)
    candidates = pick(["conv_1x1", "conv_3x3", "avg_pool_3x3"])

    def supernet(self, config: NetworkConfig) -> nn.Module:
        """Return a network with a `Choice` on every edge."""

        def edge(name: str) -> nn.Module:
            return Choice(on_edge(self.candidates, config.channels, 1, False, config), share=name)

        return network_of(config, edge)

    def network(self, architecture: Architecture, config: NetworkConfig) -> nn.Module:
        """Return the derived network with fresh weights."""
        chosen = self.chosen(architecture)

        def edge(name: str) -> nn.Module:
            return derived(self.candidates[chosen[name]], config.channels, 1, config.drop_path)

        return network_of(config, edge)


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
