"""Networks of inverted residuals, in the habit of MobileNetV3.

Source: Howard et al., "Searching for MobileNetV3", ICCV 2019; what each layer may choose is that
of ProxylessNAS (Cai et al., ICLR 2019), and squeeze-and-excitation. The widths and strides of the
five stages are those of MobileNetV3-small, which is nearly one of these networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import NamedTuple

from torch import nn

from nasp.spaces.cell import classifier
from nasp.spaces.layers import (
    SKIP,
    LayerSpace,
    MakeLayer,
    Row,
    Rows,
    skip,
)
from nasp.spaces.operations import Candidate
from nasp.spaces.space import NetworkConfig
from nasp.supernet.excitation import SqueezeExcitation

LATER = 2
"""Layers of a cell; a stage is one layer that may change the shape, and its cells."""
HEAD = 6
"""Channels of the head's convolution, in multiples of the last stage's."""
HIDDEN = 64
"""Units of ImageNet's head before its last layer, in multiples of the channels."""

SMALL_BY_HAND = (
    "e3_k3_se,skip,skip|e3_k3,e3_k3,skip|e3_k5_se,e6_k5_se,e6_k5_se|e3_k5_se,e3_k5_se,skip"
    "|e6_k5_se,e6_k5_se,e6_k5_se"
)
"""MobileNetV3-small, but for its expansions, which are neither 3 nor 6 everywhere."""


PRESETS = {"20m": 8, "60m": 16, "125m": 24, "200m": 32}
"""Multiply-adds of MobileNetV3-small at 224 pixels, rounded up -> its channels."""


class Stage(NamedTuple):
    """One stage: width in multiples of the channels, its stride with either stem."""

    width: float
    imagenet: int
    cifar: int
    activation: type[nn.Module]

    def stride(self, config: NetworkConfig) -> int:
        """Return the stride of its first layer."""
        return self.imagenet if config.stem == "imagenet" else self.cifar


STAGES = (
    Stage(1, 2, 1, nn.ReLU),
    Stage(1.5, 2, 2, nn.ReLU),
    Stage(2.5, 2, 2, nn.Hardswish),
    Stage(3, 1, 1, nn.Hardswish),
    Stage(6, 2, 2, nn.Hardswish),
)
"""Those of MobileNetV3-small."""

_BLOCKS = {
    f"e{expansion}_k{kernel}{'_se' * excites}": (expansion, kernel, excites)
    for expansion, kernel, excites in product((3, 6), (3, 5, 7), (False, True))
}
"""Name -> expansion, kernel, whether there is squeeze-and-excitation."""


def inverted_residual(
    inputs: int,
    wide: int,
    channels: int,
    kernel: int,
    stride: int,
    activation: type[nn.Module],
    excites: bool,
    affine: bool = True,
) -> nn.Sequential:
    """Return expansion, depthwise convolution and projection, each with BatchNorm.

    Args:
        inputs: channels of the input.
        wide: of the depthwise convolution; where they are the input's, nothing is expanded.
        channels: of the output.
        kernel: height and width of the depthwise convolution, odd.
        stride: 1 or 2.
        activation: behind the first two; none behind the projection.
        excites: whether squeeze-and-excitation, to a quarter, comes before the projection.
        affine: whether BatchNorm learns a scale and a shift.
    """
    expansion = [
        nn.Conv2d(inputs, wide, 1, bias=False),
        nn.BatchNorm2d(wide, affine=affine),
        activation(),
    ]
    gate = [SqueezeExcitation(wide, rounded(wide / 4, min(8, wide)))] if excites else []
    return nn.Sequential(
        *(expansion if wide != inputs else []),
        nn.Conv2d(wide, wide, kernel, stride, kernel // 2, groups=wide, bias=False),
        nn.BatchNorm2d(wide, affine=affine),
        activation(),
        *gate,
        nn.Conv2d(wide, channels, 1, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    )


@dataclass(frozen=True, eq=False)
class Mobile(LayerSpace):
    """Five stages of one layer and ``config.cells`` cells of two layers, which share their rows.

    Attributes:
        name: the name on the command line.
    """

    name: str = "mobile"

    @property
    def rows(self) -> Rows:
        """The rows: a stage's first layer is never left out, the two of its cells can be."""
        blocks = tuple(_BLOCKS)
        stages = []
        for stage in range(len(STAGES)):
            later = [_later(stage, layer) for layer in range(LATER)]
            stages.append(
                (
                    Row(_first(stage), "first", blocks),
                    Row(later[0], "second", (*blocks, SKIP)),
                    Row(later[1], "third", (*blocks, SKIP)),
                )
            )
        return Rows(self.name, stages)

    def built(self, config: NetworkConfig, make: MakeLayer) -> nn.Module:
        """Return a network whose layers are made by `make`."""
        return _network(config, make)


def rounded(channels: float, unit: int) -> int:
    """Return the multiple of a unit that is nearest, at least one."""
    return max(1, int(channels / unit + 0.5)) * unit


def widths(channels: int) -> list[int]:
    """Return the channels of the stages: multiples of 8, or of `channels` where that is less."""
    first, *later = (stage.width * channels for stage in STAGES)
    return [int(first), *(rounded(width, min(8, channels)) for width in later)]


def framed(config: NetworkConfig, stages: Sequence[nn.Module], width: int) -> nn.Sequential:
    """Return stem, stages and head in one network; [B,C,H,W] to [B,classes].

    Args:
        config: of the network.
        stages: read ``config.channels`` channels.
        width: channels of the last one's output.
    """
    channels, stride = config.channels, 2 if config.stem == "imagenet" else 1
    network = nn.Sequential()
    network.add_module("stem", _convolution(config.in_channels, channels, 3, stride))
    network.add_module("stages", nn.Sequential(*stages))
    network.add_module("head", _convolution(width, HEAD * width, 1, 1))
    network.add_module("classifier", _classifier(HEAD * width, config))
    return network


def _first(stage: int) -> str:
    return f"first/{stage}"


def _later(stage: int, layer: int) -> str:
    return f"later/{LATER * stage + layer}"


def _network(config: NetworkConfig, make: MakeLayer) -> nn.Sequential:
    """Return a network whose layers are made by `make`."""
    stages: list[nn.Module] = []
    inputs = config.channels
    for index, (stage, width) in enumerate(zip(STAGES, widths(config.channels), strict=True)):
        changed = None if inputs == width else inputs
        candidates, stride = _candidates(changed, stage), stage.stride(config)
        first = make(_first(index), candidates, inputs, width, stride)
        later = {**_candidates(None, stage), SKIP: skip}
        cells = [
            make(_later(index, layer), later, width, width, 1)
            for _ in range(config.cells)
            for layer in range(LATER)
        ]
        stages.append(nn.Sequential(first, *cells))
        inputs = width
    return framed(config, stages, inputs)


def _candidates(inputs: int | None, stage: Stage) -> dict[str, Candidate]:
    """Return the candidates of a layer that reads so many channels; None: as many as it makes."""
    return {
        name: partial(_candidate, inputs, stage.activation, *block)
        for name, block in _BLOCKS.items()
    }


def _candidate(
    inputs: int | None,
    activation: type[nn.Module],
    expansion: int,
    kernel: int,
    excites: bool,
    channels: int,
    stride: int,
    affine: bool,
) -> nn.Sequential:
    inputs = channels if inputs is None else inputs
    wide = expansion * inputs
    return inverted_residual(inputs, wide, channels, kernel, stride, activation, excites, affine)


def _convolution(inputs: int, channels: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.Hardswish(),
    )


def _classifier(inputs: int, config: NetworkConfig) -> nn.Sequential:
    """Return pooling and a linear layer; with ImageNet's stem one of hidden units between."""
    if config.stem == "cifar":
        return classifier(inputs, config.classes)
    hidden = HIDDEN * config.channels
    return nn.Sequential(
        *classifier(inputs, hidden), nn.Hardswish(), nn.Linear(hidden, config.classes)
    )


MOBILE = Mobile()
"""The space of inverted residuals."""
