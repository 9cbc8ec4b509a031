"""The networks that read texts: their size, an example of a call, what they cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from nasp.complexity.target import Target
from nasp.domains.domain import SupernetConfig
from nasp.domains.text.baseline import lstm_network
from nasp.domains.text.loader import TextBatch
from nasp.domains.text.task import LanguageModelling
from nasp.errors import validated
from nasp.spaces import LanguageConfig, Space
from nasp.spaces.language_model import Dropouts, LanguageModel
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Supernet

SENTENCE = 35
"""Tokens of the example that a language model's costs are about: as many as a training step has."""


class TextSupernet(SupernetConfig):
    """Settings of a supernet that reads a text."""

    dropouts: Dropouts = Field(default_factory=Dropouts)
    """Probability of dropout: output, hidden, input, embedding or word; repeatable."""


def sized(fields: Mapping[str, Any]) -> LanguageConfig:
    """Return the size of a language model.

    Raises:
        UsageError: a field does not fit.
    """
    return validated(LanguageConfig, fields, "the network")


def described(size: Mapping[str, Any]) -> str:
    """Return what a network reads, in words."""
    return f"a vocabulary of {size['vocabulary']:,}"


def hand_made(config: LanguageConfig, parameters: int) -> LanguageModel:
    """Return LSTM layers of about the given size; see `lstm_network`."""
    return lstm_network(config.vocabulary, config.cells, config.dropouts, parameters)


def example(network: LanguageModel, config: LanguageConfig, tokens: int) -> tuple[Tensor, ...]:
    """Return two texts, random, and the states to begin with."""
    _, (texts, _, memory) = stand_in(network, config, 2, tokens, 0)
    return texts.contiguous(), memory[:, 0].contiguous()


def stand_in(
    network: LanguageModel, config: LanguageConfig, count: int, tokens: int, seed: int
) -> tuple[LanguageModelling, TextBatch]:
    """Return a task, and so many random texts."""
    generator = torch.Generator().manual_seed(seed)
    text = torch.randint(config.vocabulary, (count, tokens + 1), generator=generator)
    memory = torch.zeros(count, 2, network.state_size)
    return LanguageModelling(tokens), (text[:, :-1], text[:, 1:], memory)


def target(space: Space, config: LanguageConfig, device: torch.device | str = "cpu") -> Target:
    """Return the networks of a space at one size, on one sentence, as what costs are about."""

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
    sentence = f"sentence of {SENTENCE} tokens"
    return Target(name, supernet, lambda: supernet(tokens, state), build, sentence, False)
