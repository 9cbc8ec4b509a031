"""MobileNetV3-small as its authors made it, at any width: a network to compare with."""

from __future__ import annotations

import torch
from torch import nn

from nasp.domains.width import width_for
from nasp.spaces.layers import Residual
from nasp.spaces.mobile import STAGES, framed, inverted_residual, rounded, widths
from nasp.spaces.space import NetworkConfig

PUBLISHED = 16
"""Channels of the stem of MobileNetV3-small."""
_LAYERS = (
    ((3, 16, True),),
    ((3, 72, False), (3, 88, False)),
    ((5, 96, True), (5, 240, True), (5, 240, True)),
    ((5, 120, True), (5, 144, True)),
    ((5, 288, True), (5, 576, True), (5, 576, True)),
)
"""Of each stage's layers: kernel, expanded channels, whether there is squeeze-and-excitation."""


def mobilenet(config: NetworkConfig, parameters: int) -> nn.Module:
    """Return MobileNetV3-small (Howard et al., ICCV 2019, table 2) of about the given size.

    Strides and head are those of the space `mobile`, smaller for small images.

    Args:
        config: input channels, image size, stem and classes; its other fields are not read.
        parameters: the width is chosen so that the parameter count comes closest to this.

    Returns:
        A module that maps ``[B, C, H, W]`` to ``[B, classes]``.
    """
    return mobilenet_of(config, width_for(parameters, lambda channels: _count(config, channels)))


def mobilenet_of(config: NetworkConfig, channels: int) -> nn.Module:
    """Return it with so many channels in its stem; `PUBLISHED` are the authors'."""
    inputs, stages = channels, []
    for stage, width, layers in zip(STAGES, widths(channels), _LAYERS, strict=True):
        made: list[nn.Module] = []
        for kernel, expanded, excites in layers:
            stride = 1 if made else stage.stride(config)
            wide = rounded(expanded * channels / PUBLISHED, min(8, channels))
            layer = inverted_residual(
                inputs, wide, width, kernel, stride, stage.activation, excites
            )
            made.append(Residual(layer) if stride == 1 and inputs == width else layer)
            inputs = width
        stages.append(nn.Sequential(*made))
    return framed(config.model_copy(update={"channels": channels}), stages, inputs)


def _count(config: NetworkConfig, channels: int) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in mobilenet_of(config, channels).parameters())
