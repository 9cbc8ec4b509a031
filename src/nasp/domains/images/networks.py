"""The networks that read images: their size, an example of a call, what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from nasp.complexity.target import Target
from nasp.domains.domain import SupernetConfig
from nasp.domains.images.task import ImageClassification
from nasp.errors import validated
from nasp.spaces import NetworkConfig, Space
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Supernet
from nasp.training.layout import fast_layout, laid_out

IMAGENET_SIZE = 128
"""Height and width of images from which on a network has ImageNet's stem."""


class ImageSupernet(SupernetConfig):
    """Settings of a supernet that reads images."""

    partial_channels: int = Field(1, ge=1)
    """K: candidates see 1/K of the channels."""


def sized(fields: Mapping[str, Any]) -> NetworkConfig:
    """Return the size of a network, its stem as the images need it.

    Raises:
        UsageError: a field does not fit.
    """
    config = validated(NetworkConfig, fields, "the network")
    stem = "imagenet" if config.image_size >= IMAGENET_SIZE else "cifar"
    return config.model_copy(update={"stem": stem})


def described(size: Mapping[str, Any]) -> str:
    """Return what a network reads, in words."""
    return f"images {size['in_channels']}×{size['image_size']}², {size['classes']} classes"


def example(network: nn.Module, config: NetworkConfig, tokens: int) -> tuple[Tensor]:
    """Return two images, random."""
    _, (images, _) = stand_in(network, config, 2, tokens, 0)
    return (images,)


def stand_in(
    network: nn.Module, config: NetworkConfig, count: int, tokens: int, seed: int
) -> tuple[ImageClassification, tuple[Tensor, Tensor]]:
    """Return a task, and so many random images and labels."""
    del network, tokens
    generator = torch.Generator().manual_seed(seed)
    shape = count, config.in_channels, config.image_size, config.image_size
    images = torch.randn(shape, generator=generator)
    return ImageClassification(config.classes), (
        images,
        torch.randint(config.classes, (count,), generator=generator),
    )


def target(space: Space, config: NetworkConfig, device: torch.device | str = "cpu") -> Target:
    """Return the networks of a space at one size, on one image, as what costs are about."""
    whole = config.model_copy(update={"as_derived": True, "partial_channels": 1})

    def placed(network: nn.Module) -> nn.Module:
        return laid_out(network.to(device), torch.device(device))

    def build(architecture: Architecture) -> nn.Module:
        return placed(space.network(architecture, config))

    with torch.random.fork_rng():  # weights are drawn, and do not matter
        supernet = Supernet(placed(space.supernet(whole)), space.name)
        image = torch.randn(1, config.in_channels, config.image_size, config.image_size)
    image = image.to(device, memory_format=fast_layout(torch.device(device), supernet.network))
    cells = f"{config.cells} cell{'s' * (config.cells > 1)}"
    stages = " a stage" if space.name.startswith(("nasbench201", "mobile", "vit")) else ""
    name = f"{cells}{stages}, {config.channels} channels"
    return Target(name, supernet, lambda: supernet(image), build, "image")
