"""A hand-made network to compare with: residual blocks, as wide as a parameter count allows."""

from __future__ import annotations

from torch import nn
from torchvision.models.resnet import BasicBlock

from nasp.domains.width import width_for
from nasp.spaces.space import NetworkConfig

BLOCKS_A_STAGE = 2
_STEPS = 4
"""Steps of the width to a channel of the first stage: whole channels are coarse where few."""


def residual_network(config: NetworkConfig, parameters: int) -> nn.Module:
    """Return a residual network (He et al., 2016) of about the given size.

    Three stages of two basic blocks, halving the resolution and about doubling the channels
    between them, as people build for CIFAR.

    Args:
        config: input channels, image size and classes; its other fields are not read.
        parameters: the width is chosen so that the parameter count comes closest to this.

    Returns:
        A module that maps ``[B, C, H, W]`` to ``[B, classes]``.
    """
    return _network(config, width_for(parameters, lambda width: _count(config, width)))


def _channels(width: int) -> list[int]:
    """Return the channels of the stages, each about twice those before it."""
    return [max(1, (width * 2**stage + _STEPS // 2) // _STEPS) for stage in range(3)]


def _network(config: NetworkConfig, width: int) -> nn.Module:
    channels, *_ = stages = _channels(width)
    layers: list[nn.Module] = [
        nn.Conv2d(config.in_channels, channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
    ]
    for stage, wide in enumerate(stages):
        for block in range(BLOCKS_A_STAGE):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(_block(channels, wide, stride))
            channels = wide
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, config.classes)]
    return nn.Sequential(*layers)


def _block(channels: int, out_channels: int, stride: int) -> nn.Module:
    downsample = None
    if stride != 1 or channels != out_channels:
        downsample = nn.Sequential(
            nn.Conv2d(channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
        )
    return BasicBlock(channels, out_channels, stride, downsample)  # type: ignore[no-any-return]


def _count(config: NetworkConfig, width: int) -> int:
    """Parameters of `_network`, in closed form: widths are tried without building them."""
    channels, *_ = stages = _channels(width)
    total = 9 * config.in_channels * channels + 2 * channels
    for stage, wide in enumerate(stages):
        for block in range(BLOCKS_A_STAGE):
            total += 9 * channels * wide + 9 * wide * wide + 4 * wide
            if channels != wide or (stage > 0 and block == 0):
                total += channels * wide + 2 * wide
            channels = wide
    return total + channels * config.classes + config.classes
