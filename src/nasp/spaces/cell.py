"""The network of DARTS's image spaces: stem, a stack of normal and reduction cells, classifier.

Source: Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, sections 2.1
and A.1. The supernet and the derived network differ only in what stands at a cell's nodes, so
both are built here by `cell_network`, from a function that makes a node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from nasp.errors import UsageError
from nasp.spaces.operations import FactorizedReduce, relu_conv_bn
from nasp.spaces.space import NetworkConfig

NODES = 4
"""Intermediate nodes of a cell."""
INPUTS = 2
"""Inputs of a cell: the outputs of the two cells before it. A node keeps as many edges."""
KINDS = ("normal", "reduce")
"""The two kinds of cells; the cells of one kind share their architecture."""
STEM_MULTIPLIER = 3
"""Channels of the CIFAR stem, in multiples of C."""

MakeNode = Callable[[str, int, int], tuple[nn.Module, Sequence[int]]]
"""From a cell's kind, a node's index and the channels: the node, and the states that it reads."""


def edge_name(kind: str, node: int, source: int) -> str:
    """Return the edge's name, numbered as in DARTS: ``normal/0`` to ``normal/13``, and reduce.

    Args:
        kind: ``"normal"`` or ``"reduce"``.
        node: the intermediate node where the edge ends, 0 to 3.
        source: where it starts: 0 and 1 are the cell's inputs, 2 + n is intermediate node n.
    """
    return f"{kind}/{node * (node + 3) // 2 + source}"


def edge_stride(kind: str, source: int) -> int:
    """Return the stride of an edge: a reduction cell halves the resolution at its inputs."""
    return 2 if kind == "reduce" and source < INPUTS else 1


def reductions(cells: int) -> set[int]:
    """Return which cells are reduction cells: those at 1/3 and 2/3 of the depth.

    The first cell is always a normal one. This departs from DARTS for 2 cells alone, where
    nothing but reduction cells would be left.
    """
    return {cells // 3, 2 * cells // 3} - {0}


class Sum(nn.Module):
    """A node of a derived network: the sum of its edges' outputs.

    Args:
        edges: the modules on the edges, at least one.
    """

    def __init__(self, edges: Sequence[nn.Module]) -> None:
        super().__init__()
        self.edges = nn.ModuleList(edges)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Give edge i input i, each [B,C,H,W]; return the sum of what they make of it."""
        # Indexed, not looped over: torch.fx cannot iterate over *inputs.
        total: Tensor = self.edges[0](inputs[0])
        for i in range(1, len(self.edges)):
            total = total + self.edges[i](inputs[i])
        return total


class Cell(nn.Module):
    """One cell: two inputs, four intermediate nodes, the output concatenates the nodes.

    Args:
        kind: ``"normal"`` or ``"reduce"``.
        in_channels: channels of the output of the cell before the last, and of the last cell.
        channels: channels of each node; the output has four times as many.
        halve_first: whether the first input has twice the second one's resolution, because the
            cell between them was a reduction cell.
        affine: whether BatchNorm behind the inputs learns a scale and a shift.
        make_node: makes the nodes.
    """

    def __init__(
        self,
        kind: str,
        in_channels: tuple[int, int],
        channels: int,
        halve_first: bool,
        affine: bool,
        make_node: MakeNode,
    ) -> None:
        super().__init__()
        self.preprocess0: nn.Module = (
            FactorizedReduce(in_channels[0], channels, affine)
            if halve_first
            else relu_conv_bn(in_channels[0], channels, 1, affine=affine)
        )
        self.preprocess1 = relu_conv_bn(in_channels[1], channels, 1, affine=affine)
        nodes, sources = zip(*(make_node(kind, i, channels) for i in range(NODES)), strict=True)
        self.nodes = nn.ModuleList(nodes)
        self.sources = [list(source) for source in sources]

    def forward(self, x0: Tensor, x1: Tensor) -> Tensor:
        """Map [B,C0,H0,W0] and [B,C1,H,W] to [B,4C,H,W], or half that size for a reduction."""
        states = [self.preprocess0(x0), self.preprocess1(x1)]
        for node, sources in zip(self.nodes, self.sources, strict=True):
            states.append(node(*[states[source] for source in sources]))
        return torch.cat(states[INPUTS:], dim=1)


class NormalCell(Cell):
    """A cell that keeps the resolution."""


class ReductionCell(Cell):
    """A cell that halves the resolution."""


class CellNetwork(nn.Module):
    """Two stems, a chain of cells each of which sees the two before it, and a classifier.

    Args:
        stem0: makes the first cell's first input of the image.
        stem1: makes the first cell's second input of the first.
        cells: the cells.
        classifier: maps the last cell's output to [B,classes].
    """

    def __init__(
        self, stem0: nn.Module, stem1: nn.Module, cells: Sequence[Cell], classifier: nn.Module
    ) -> None:
        super().__init__()
        self.stem0 = stem0
        self.stem1 = stem1
        self.cells = nn.ModuleList(cells)
        self.classifier = classifier

    def forward(self, x: Tensor) -> Tensor:
        """Map images [B,in_channels,H,W] to logits [B,classes]."""
        before = self.stem0(x)
        last = self.stem1(before)
        for cell in self.cells:
            before, last = last, cell(before, last)
        logits: Tensor = self.classifier(last)
        return logits


def cifar_stem(in_channels: int, channels: int) -> nn.Sequential:
    """Return a 3x3 convolution and BatchNorm: [B,in_channels,H,W] to [B,channels,H,W]."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
    )


def imagenet_stems(in_channels: int, channels: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Return two stems: the first reduces the resolution fourfold, the second twofold (DARTS)."""
    half = max(channels // 2, 1)
    first = nn.Sequential(
        nn.Conv2d(in_channels, half, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(half),
        nn.ReLU(),
        nn.Conv2d(half, channels, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(channels),
    )
    return first, relu_conv_bn(channels, channels, 3, stride=2)


def classifier(channels: int, classes: int) -> nn.Sequential:
    """Return global average pooling and a linear layer: [B,channels,H,W] to [B,classes]."""
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def cell_network(config: NetworkConfig, affine: bool, make_node: MakeNode) -> CellNetwork:
    """Return a network of cells, a supernet or a derived network by what `make_node` makes.

    Args:
        config: its size; ``config.cells`` must be at least 2.
        affine: whether BatchNorm behind the cells' inputs learns a scale and a shift; stems
            always do.
        make_node: makes the nodes of the cells.

    Raises:
        UsageError: there are too few cells, or channels for the ImageNet stem.
    """
    if config.cells < 2:
        raise UsageError(
            f"cells={config.cells} is too few: a normal and a reduction cell need at least 2."
        )
    if config.stem == "imagenet" and config.channels < 2:
        raise UsageError("channels=1 is too few: the imagenet stem needs at least 2.")
    channels = config.channels
    stem0: nn.Module
    stem1: nn.Module
    if config.stem == "cifar":
        stem0, stem1 = cifar_stem(config.in_channels, STEM_MULTIPLIER * channels), nn.Identity()
        before = last = STEM_MULTIPLIER * channels
    else:
        stem0, stem1 = imagenet_stems(config.in_channels, channels)
        before = last = channels
    halve_first = config.stem == "imagenet"

    cells: list[Cell] = []
    reduction_cells = reductions(config.cells)
    for i in range(config.cells):
        reduces = i in reduction_cells
        channels *= 2 if reduces else 1
        make, kind = (ReductionCell, "reduce") if reduces else (NormalCell, "normal")
        cells.append(make(kind, (before, last), channels, halve_first, affine, make_node))
        before, last = last, NODES * channels
        halve_first = reduces
    return CellNetwork(stem0, stem1, cells, classifier(last, config.classes))


def auxiliary_head(config: NetworkConfig) -> tuple[str, nn.Sequential]:
    """Return the cell at 2/3 of the depth to tap, and DARTS's auxiliary classifier for it.

    The head maps the cell's output to [B,classes]. It pools to 2x2 as DARTS does where the
    output is 8x8 (CIFAR) or 7x7 (ImageNet), and adaptively for any other size.
    """
    halvings = len(reductions(config.cells)) + (3 if config.stem == "imagenet" else 0)
    size = -(-config.image_size // 2**halvings)
    channels = NODES * config.channels * 2 ** len(reductions(config.cells))
    strides = {8: 3, 7: 2}
    pool: nn.Module = (
        nn.AvgPool2d(5, stride=strides[size], count_include_pad=False)
        if size in strides
        else nn.AdaptiveAvgPool2d(2)
    )
    head = nn.Sequential(
        nn.ReLU(),
        pool,
        nn.Conv2d(channels, 128, 1, bias=False),
        nn.BatchNorm2d(128),
        nn.ReLU(),
        nn.Conv2d(128, 768, 2, bias=False),
        nn.BatchNorm2d(768),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(768, config.classes),
    )
    return f"cells.{2 * config.cells // 3}", head
