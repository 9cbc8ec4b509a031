"""The derived networks of a space at one size, as what costs are about."""

from __future__ import annotations

import torch
from torch import nn

from nasp.architecture import Architecture
from nasp.complexity.target import Target
from nasp.spaces.space import NetworkConfig, Space
from nasp.supernet import Supernet


def space_target(space: Space, config: NetworkConfig, device: torch.device | str = "cpu") -> Target:
    """Return the target of a space of images.

    Args:
        space: whose networks are meant.
        config: their size.
        device: where they run.
    """
    whole = config.model_copy(update={"as_derived": True, "partial_channels": 1})

    def placed(network: nn.Module) -> nn.Module:
        on_device: nn.Module = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return on_device

    def build(architecture: Architecture) -> nn.Module:
        return placed(space.network(architecture, config))

    with torch.random.fork_rng():  # weights are drawn, and do not matter
        supernet = Supernet(placed(space.supernet(whole)), space.name)
        image = torch.randn(1, config.in_channels, config.image_size, config.image_size)
    image = image.to(device, memory_format=torch.channels_last)
    cells = f"{config.cells} cell{'s' * (config.cells > 1)}"
    stages = " a stage" if space.name.startswith("nasbench201") else ""
    name = f"{cells}{stages}, {config.channels} channels"
    return Target(name, supernet, lambda: supernet(image), build)
