"""A task of the user's own: any loss of a network's output and a target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasp.errors import NaspError
from nasp.training.batches import inputs_and_target
from nasp.training.task import Batch


@dataclass(frozen=True)
class Supervised:
    """A `Task` from a loss function.

    A batch is a tuple or list: the network's inputs, then the target.

    Attributes:
        criterion: maps the network's output and the target to a scalar; default cross entropy.
    """

    criterion: Callable[[Any, Any], Tensor] = F.cross_entropy

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss, and with class targets `accuracy`.

        The accuracy is the fraction of right largest logits, for int64 targets ``[B, ...]`` and
        logits ``[B, classes, ...]``.

        Raises:
            UsageError: the batch is no sequence of inputs and target.
            NaspError: the loss cannot be computed from what the network returned.
        """
        inputs, target = inputs_and_target(batch)
        output = network(*inputs)
        try:
            loss = self.criterion(output, target)
        except (RuntimeError, ValueError, TypeError) as error:
            raise NaspError(
                f"The loss cannot be computed from an output of {_described(output)} and a target"
                f" of {_described(target)}: {str(error).partition(chr(10))[0] or repr(error)}."
            ) from error
        if not isinstance(loss, Tensor):
            raise NaspError(f"The loss must be a scalar tensor, but is a {type(loss).__name__}.")
        if loss.dim() != 0:
            raise NaspError(f"The loss must be a scalar tensor, but is of the {_described(loss)}.")
        metrics = {}
        if _are_logits(output, target):
            with torch.no_grad():
                metrics["accuracy"] = (output.argmax(dim=1) == target).float().mean()
        return loss, metrics


def _are_logits(output: object, target: object) -> bool:
    return (
        isinstance(output, Tensor)
        and isinstance(target, Tensor)
        and target.dtype == torch.int64
        and output.dim() == target.dim() + 1
        and output.shape[:1] + output.shape[2:] == target.shape
    )


def _described(value: object) -> str:
    return f"shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
