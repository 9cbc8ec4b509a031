"""The derived networks of a space at one size, as what costs are about."""

from __future__ import annotations

import torch
from torch import nn

from nasp.complexity.target import Target
from nasp.spaces.language_model import LanguageModel
from nasp.spaces.recurrent import LanguageConfig
from nasp.spaces.space import NetworkConfig, Space
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Supernet

SENTENCE = 35
"""Tokens of the example that a language model's costs are about: as many as a training step has."""


def space_target(
    space: Space, config: NetworkConfig | LanguageConfig, device: torch.device | str = "cpu"
) -> Target:
    """Return the target of a space: its networks at one size, on one example.

    Args:
        space: whose networks are meant.
        config: their size, of the kind that the space takes.
        device: where they run.
    """
    if isinstance(config, LanguageConfig):
        return _text_target(space, config, device)
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
    return Target(name, supernet, lambda: supernet(image), build, "image")


def _text_target(space: Space, config: LanguageConfig, device: torch.device | str) -> Target:
    def build(architecture: Architecture) -> nn.Module:
        return space.network(architecture, config).to(device)

    with torch.random.fork_rng():  # weights are drawn, and do not matter
        network = space.supernet(config)
    assert isinstance(network, LanguageModel)
    supernet = Supernet(network.to(device), space.name)
    tokens = torch.zeros(1, SENTENCE, dtype=torch.long, device=device)
    state = torch.zeros(1, network.state_size, device=device)
    layers = f"{config.cells} layer{'s' * (config.cells > 1)}"
    name = f"{layers}, {config.channels} units, {config.vocabulary} tokens"
    # What a node multiplies by its weights stands between its edges, in none of them.
    example = f"sentence of {SENTENCE} tokens"
    return Target(name, supernet, lambda: supernet(tokens, state), build, example, False)
