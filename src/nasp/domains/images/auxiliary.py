"""A second, training-only classifier on an inner output of a network (DARTS, section A.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from nasp.domains.images.task import ImageClassification
from nasp.training.batches import inputs_and_target
from nasp.training.task import Batch


class WithAuxiliaryHead(nn.Module):
    """A network and a second, training-only classifier on one of its inner outputs.

    Args:
        network: trained.
        tapped: name of the submodule whose output the head reads.
        head: maps it to logits ``[B, classes]``.
    """

    def __init__(self, network: nn.Module, tapped: str, head: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.head = head
        self.logits: Tensor | None = None
        self._features: Tensor | None = None
        network.get_submodule(tapped).register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        self._features = output

    def forward(self, x: Tensor) -> Tensor:
        """Return the network's own logits; the head's are left in `logits` while training."""
        output: Tensor = self.network(x)
        self.logits = self.head(self._features) if self.training else None
        self._features = None
        return output


@dataclass(frozen=True)
class WithAuxiliaryLoss:
    """The task of a `WithAuxiliaryHead`: its loss and `weight` times the head's."""

    task: ImageClassification
    network: WithAuxiliaryHead
    weight: float

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return both losses' sum and the metrics of the network itself."""
        loss, metrics = self.task.loss(network, batch)
        if self.network.logits is None:
            return loss, metrics
        _, target = inputs_and_target(batch)
        auxiliary = F.cross_entropy(
            self.network.logits, target, label_smoothing=self.task.label_smoothing
        )
        return loss + self.weight * auxiliary, metrics
