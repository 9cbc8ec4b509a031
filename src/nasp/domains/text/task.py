"""The task of language modelling: predict the next token; perplexity."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasp.domains.text.loader import IGNORED, remember
from nasp.errors import NaspError, UsageError
from nasp.training.evaluation import evaluation_mode
from nasp.training.task import Batch, Figure

LONGEST = 700.0
"""Nats above which e to that power is no float64 any more."""


@dataclass(frozen=True)
class LanguageModelling:
    """Predict each token of a text from those before it; a `MeasuredTask`.

    A batch is that of a `TextLoader`. The network maps tokens ``[B, T]`` and a hidden state
    ``[B, S]`` to logits ``[B, T, vocabulary]`` and the state after them.

    Attributes:
        bptt: the length of a batch for which the learning rate is meant; steps on shorter ones
            are shorter (`pace`), on longer ones longer, as in AWD-LSTM.
    """

    bptt: int = 35

    @property
    def figure(self) -> Figure:
        """Perplexity: the lower, the better."""
        return Figure("perplexity", higher_is_better=False)

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean cross entropy of a token, in nats, and no metrics.

        The state that the pass ends with is left in the batch's memory.

        Raises:
            UsageError: the batch is none of a `TextLoader`.
        """
        return _cross_entropy(network, batch, "mean"), {}

    def pace(self, batch: Batch) -> float:
        """Return the batch's length in units of `bptt`."""
        length: int = batch[0].shape[1]
        return length / self.bptt

    def memory(self, batch: Batch) -> Tensor:
        """Return where a pass leaves the state that it ends with."""
        memory: Tensor = batch[2]
        return memory[:, 1]

    def evaluate(
        self, network: nn.Module, loader: Iterable[Batch], device: torch.device | str = "cpu"
    ) -> dict[str, float]:
        """Measure a network on a whole text, in evaluation mode and without gradients.

        Args:
            network: on `device` already; each of its modules gets its training mode back.
            loader: gives all of the text once, such as a `TextLoader` with ``training=False``.
            device: batches are moved there.

        Returns:
            `loss`, the mean cross entropy of a token in nats, and `perplexity`, e to that power.

        Raises:
            NaspError: there is no batch.
        """
        total, count = 0.0, 0
        with evaluation_mode(network), torch.no_grad():
            for batch in loader:
                moved = tuple(tensor.to(device) for tensor in batch)
                total += float(_cross_entropy(network, moved, "sum"))
                count += int((moved[1] != IGNORED).sum())
        if count == 0:
            raise NaspError("There is nothing to evaluate: the loader yields no tokens.")
        loss = total / count
        return {"loss": loss, "perplexity": math.exp(min(loss, LONGEST))}


def _cross_entropy(network: nn.Module, batch: Batch, reduction: str) -> Tensor:
    if not isinstance(batch, tuple | list) or len(batch) != 3:
        raise UsageError(
            "A batch of text is (tokens, target, memory), as nasp.domains.text.loader.TextLoader"
            f" yields it, but this one is a {type(batch).__name__}."
        )
    tokens, target, memory = batch
    # A copy: the memory is written to before the backward pass reads what began with it.
    logits, state = network(tokens, memory[:, 0].clone())
    remember(memory, state)
    # Networks have time first: turned so, both are flattened without a copy of the logits.
    flat = logits.transpose(0, 1).flatten(0, 1)
    return F.cross_entropy(
        flat.float() if reduction == "sum" else flat,
        target.t().flatten(),
        ignore_index=IGNORED,
        reduction=reduction,
    )
