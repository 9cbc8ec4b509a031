"""A language model around recurrent layers, with the dropouts of AWD-LSTM.

Source: Merity, Keskar, Socher, "Regularizing and Optimizing LSTM Language Models", ICLR 2018, as
DARTS (Liu et al., ICLR 2019, section A.2) uses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from nasp.supernet.derive import Plain

INIT_RANGE = 0.04
"""Weights start uniformly between minus and plus this (DARTS)."""


class Dropouts(BaseModel):
    """Probabilities of dropout; in brackets DARTS's names, whose values are the defaults.

    Attributes:
        output: of what the last layer gives to the decoder (dropout).
        hidden: of the hidden state and of the nodes' inputs in a cell, one mask for all steps
            of a batch; between layers too (dropouth).
        input: of what a cell reads, one mask for all steps (dropoutx).
        embedding: of the embedded words, one mask for all steps (dropouti).
        word: of whole words, wherever in the batch they stand (dropoute).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    output: float = Field(0.75, ge=0, lt=1)
    hidden: float = Field(0.25, ge=0, lt=1)
    input: float = Field(0.75, ge=0, lt=1)
    embedding: float = Field(0.2, ge=0, lt=1)
    word: float = Field(0.0, ge=0, lt=1)


class LockedDropout(Plain, nn.Module):
    """Dropout with one mask for all time steps (variational dropout).

    Args:
        probability: of a value to be dropped.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(probability)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[T, B, C]`` to the same shape."""
        dropped: Tensor = x * self.dropout(torch.ones_like(x[:1]))
        return dropped


class RecurrentLayer(Protocol):
    """A layer that reads its input step by step."""

    state_size: int
    """S, values of the state of one example."""

    def __call__(self, x: Tensor, state: Tensor, /) -> tuple[Tensor, Tensor]:
        """Map ``[T, B, C]`` and a state ``[B, S]`` to ``[T, B, C]`` and the state at the end."""
        ...


class LanguageModel(Plain, nn.Module):
    """Embedding, recurrent layers, and a decoder that shares the embedding's weights.

    Args:
        vocabulary: how many tokens there are.
        width: of the embedding and of the last layer's output.
        layers: modules that are each a `RecurrentLayer`, with states of one size.
        dropouts: probabilities.

    Attributes:
        state_size: S, values of the hidden state of one example, of all layers.
    """

    def __init__(
        self, vocabulary: int, width: int, layers: Sequence[Any], dropouts: Dropouts
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, width)
        self.word_dropout = nn.Dropout(dropouts.word)
        self.embedding_dropout = LockedDropout(dropouts.embedding)
        self.layers = nn.ModuleList(layers)
        self.state_size = sum(layer.state_size for layer in layers)
        self.hidden_dropout = LockedDropout(dropouts.hidden)
        self.output_dropout = LockedDropout(dropouts.output)
        self.decoder = nn.Linear(width, vocabulary)
        self.decoder.weight = self.embedding.weight
        nn.init.uniform_(self.embedding.weight, -INIT_RANGE, INIT_RANGE)
        nn.init.zeros_(self.decoder.bias)

    def forward(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Predict the token that follows each.

        Args:
            tokens: int64 ``[B, T]``.
            state: ``[B, S]``, those of the layers side by side; zeros where a text begins.

        Returns:
            Logits ``[B, T, vocabulary]`` (a view of time-first memory), and the state ``[B, S]``
            after the last token.
        """
        tokens = tokens.t()
        kept_words = self.word_dropout(torch.ones_like(self.decoder.bias))
        x = self.embedding(tokens) * kept_words[tokens].unsqueeze(-1)
        x = self.embedding_dropout(x)
        begin = state.chunk(len(self.layers), dim=1)
        end = []
        for number, layer in enumerate(self.layers):
            x, last = layer(x if number == 0 else self.hidden_dropout(x), begin[number])
            end.append(last)
        logits = self.decoder(self.output_dropout(x))
        return logits.transpose(0, 1), torch.cat(end, dim=1)
