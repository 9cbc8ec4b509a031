"""Small vision transformers, whose layers choose what mixes the pixels, and their MLP's ratio.

Source: Dosovitskiy et al., "An Image Is Worth 16x16 Words", ICLR 2021. Stem and norms are those of
LeViT (Graham et al., ICCV 2021): convolutions for patches, and BatchNorm where a branch ends, with
which a network learns from few images by plain SGD, and a probe never runs a branch's end. Places
are told by a depthwise convolution behind the stem (Chu et al., "Conditional Positional Encodings
for Vision Transformers", ICLR 2023), so that images of other sizes do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import gcd

from torch import Tensor, nn

from nasp.spaces.cell import classifier
from nasp.spaces.layers import (
    SKIP,
    LayerSpace,
    MakeLayer,
    Residual,
    Row,
    Rows,
    skip,
)
from nasp.spaces.operations import Candidate
from nasp.spaces.space import NetworkConfig

STAGES = 4
"""Stages of the network; the cells of a stage, each a mixer and an MLP, share their rows."""
HEAD_WIDTH = 16
"""Channels of an attention head."""
GRID, PATCH = 7, 16
"""The stem halves the resolution while so many tokens a side are left, to patches of PATCH."""
KERNEL = 5
"""Height and width of the convolutional mixer."""


class Attention(nn.Module):
    """Self-attention among the pixels: [B,C,H,W] to the same shape.

    Args:
        channels: of input and output.
        affine: whether BatchNorm learns a scale and a shift.
    """

    def __init__(self, channels: int, affine: bool) -> None:
        super().__init__()
        self.heads = gcd(channels, max(1, channels // HEAD_WIDTH))
        self.scale = (channels // self.heads) ** -0.5
        self.inputs = nn.Sequential(
            nn.Conv2d(channels, 3 * channels, 1, bias=False),
            nn.BatchNorm2d(3 * channels, affine=affine),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return for each pixel the mean of all values, weighted by how keys fit its query."""
        tokens = self.inputs(x).flatten(2).unflatten(1, (3, self.heads, -1))
        query, key, value = tokens[:, 0], tokens[:, 1], tokens[:, 2]
        # Not the fused kernels: they have no second derivatives on a CPU.
        weights = (query.transpose(2, 3) @ key * self.scale).softmax(dim=3)
        mixed: Tensor = (value @ weights.transpose(2, 3)).reshape(x.shape)
        return mixed


class Both(nn.Module):
    """The sum of two mixers: [B,C,H,W] to the same shape.

    Args:
        attention: the one.
        convolution: the other.
    """

    def __init__(self, attention: nn.Module, convolution: nn.Module) -> None:
        super().__init__()
        self.attention = attention
        self.convolution = convolution

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        out: Tensor = self.attention(x) + self.convolution(x)
        return out


def attention(channels: int, stride: int, affine: bool) -> nn.Sequential:
    """Return self-attention and its projection."""
    del stride
    return nn.Sequential(
        Attention(channels, affine), nn.Hardswish(), *_pointwise(channels, channels, affine)
    )


def convolution(channels: int, stride: int, affine: bool) -> nn.Sequential:
    """Return a depthwise convolution and a pointwise one."""
    del stride
    return nn.Sequential(
        nn.Conv2d(channels, channels, KERNEL, padding=KERNEL // 2, groups=channels, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
        nn.Hardswish(),
        *_pointwise(channels, channels, affine),
    )


def both(channels: int, stride: int, affine: bool) -> Both:
    """Return attention and convolution side by side."""
    return Both(attention(channels, stride, affine), convolution(channels, stride, affine))


def mlp(ratio: int, channels: int, stride: int, affine: bool) -> nn.Sequential:
    """Return a layer of `ratio` times the channels, and one back to them, at every pixel."""
    del stride
    return nn.Sequential(
        *_pointwise(channels, ratio * channels, affine),
        nn.Hardswish(),
        *_pointwise(ratio * channels, channels, affine),
    )


def _pointwise(inputs: int, channels: int, affine: bool) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, channels, 1, bias=False), nn.BatchNorm2d(channels, affine=affine)


_MIXERS: Mapping[str, Candidate] = {
    "attention": attention,
    "convolution": convolution,
    "both": both,
    SKIP: skip,
}
_MLPS: Mapping[str, Candidate] = {f"mlp_{ratio}": partial(mlp, ratio) for ratio in (1, 2, 4)}


@dataclass(frozen=True, eq=False)
class ViT(LayerSpace):
    """Four stages of ``config.cells`` cells, ``config.channels`` wide throughout.

    Attributes:
        name: the name on the command line.
    """

    name: str = "vit"

    @property
    def rows(self) -> Rows:
        """The rows: a mixer and an MLP of each stage."""
        stages = [
            (Row(f"mixer/{stage}", "mixer", _MIXERS), Row(f"mlp/{stage}", "mlp", _MLPS))
            for stage in range(STAGES)
        ]
        return Rows(self.name, stages)

    def built(self, config: NetworkConfig, make: MakeLayer) -> nn.Module:
        """Return a network whose layers are made by `make`."""
        return _network(config, make)


def _network(config: NetworkConfig, make: MakeLayer) -> nn.Sequential:
    """Return stem, cells and classifier, the layers made by `make`."""
    channels, stem = config.channels, list[nn.Module]()
    halvings = min(config.image_size // GRID, PATCH).bit_length() - 1
    inputs = config.in_channels
    for left in reversed(range(max(1, halvings))):
        width = max(1, channels // 2**left)
        stem += [
            nn.Conv2d(inputs, width, 3, 2 if halvings > 0 else 1, 1, bias=False),
            nn.BatchNorm2d(width),
            *([nn.Hardswish()] if left else []),
        ]
        inputs = width
    cells: list[nn.Module] = []
    for stage in range(STAGES):
        for _ in range(config.cells):
            cells.append(make(f"mixer/{stage}", _MIXERS, channels, channels, 1))
            cells.append(make(f"mlp/{stage}", _MLPS, channels, channels, 1))
    positions = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
    network = nn.Sequential()
    network.add_module("stem", nn.Sequential(*stem, Residual(positions)))
    network.add_module("cells", nn.Sequential(*cells))
    network.add_module("norm", nn.BatchNorm2d(channels))
    network.add_module("classifier", classifier(channels, config.classes))
    return network


VIT = ViT()
"""The space of small vision transformers."""
