"""Sizes of networks of images at which spaces are tested."""

from __future__ import annotations

import torch
from torch import Tensor

from nasp.spaces import NetworkConfig, Space

DIGITS = NetworkConfig(in_channels=1, image_size=8, channels=2, cells=2)
SIZES = {
    "colour": NetworkConfig(channels=2, cells=3),
    "digits": DIGITS,
    "smallest": NetworkConfig(in_channels=1, image_size=4, channels=1, classes=2, cells=2),
    "imagenet": NetworkConfig(image_size=64, classes=20, channels=4, cells=3, stem="imagenet"),
    "odd": NetworkConfig(image_size=27, channels=2, cells=3, drop_path=True),
}


def fitting(space: Space, config: NetworkConfig) -> NetworkConfig:
    """Return a size with no more cells than the space's small one, where it has fewer."""
    return config.model_copy(update={"cells": min(config.cells, space.small.cells)})


def images(config: NetworkConfig) -> Tensor:
    """Return two random images of a network's size."""
    return torch.randn(2, config.in_channels, config.image_size, config.image_size)
