"""A task of the user's own: any loss of a network's output and a target."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasp.errors import NaspError, UsageError
from nasp.training.batches import Part, inputs_and_target, split_batch
from nasp.training.divisors import Divisor, divisor, ignored_label
from nasp.training.task import ACCURACY, Batch, Figure, Task, module_of


@dataclass(frozen=True)
class Supervised:
    """A `Task` from a loss function.

    A batch is a tuple or list: the network's inputs, then the target.

    Attributes:
        criterion: maps the network's output and the target to a scalar; default cross entropy.
        metrics: name -> what is measured over whole loaders: a function of all outputs and
            targets, or an object with ``update``, ``compute`` and ``reset``, as torchmetrics has.
        figure: the metric by which networks are compared, where there is one of that name; else
            the loss.
    """

    criterion: Callable[[Any, Any], Tensor] = F.cross_entropy
    metrics: Mapping[str, Any] = field(default_factory=dict, hash=False)
    figure: Figure = ACCURACY

    @property
    def module(self) -> nn.Module | None:
        """The loss, where it is a module, and so may have weights of its own."""
        return self.criterion if isinstance(self.criterion, nn.Module) else None

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
                right, ignored = output.argmax(dim=1) == target, ignored_label(self.criterion)
                counted = torch.ones_like(right) if ignored is None else target != ignored
                metrics["accuracy"] = (right & counted).sum() / counted.sum()
        return loss, metrics

    def divisor(self, batch: Batch) -> Divisor | None:
        """Return by what the loss divides on a batch; None where that is its examples."""
        return divisor(self.criterion, inputs_and_target(batch)[1])

    def split(self, batch: Batch, parts: int) -> list[Part]:
        """Split a batch as `split_batch` does; each part weighs what the loss divides it by.

        Parts in which every label is ignored are left out.
        """
        whole = split_batch(batch, parts)
        divisors = [self.divisor(part.batch) for part in whole]
        known = [each for each in divisors if each is not None]
        labels = sum(each.labels for each in known)
        if len(known) < len(whole) or labels == 0:
            return whole
        total = sum(each.loss or 0.0 for each in known)
        pairs = ((p, d) for p, d in zip(whole, known, strict=True) if d.labels > 0)
        return [
            Part(part.batch, 1.0 if d.loss is None else d.loss / total, d.labels / labels)
            for part, d in pairs
        ]


def as_task(given: object | None, metrics: Mapping[str, Any] | None = None) -> Task:
    """Return a task as it is, or that of a loss; default cross entropy.

    Args:
        given: task or loss.
        metrics: see `Supervised`.

    Raises:
        UsageError: it is neither, or could be both; or metrics were given beside a task.
    """
    task = Supervised() if given is None else _task(given)
    if not metrics:
        return task
    if not isinstance(task, Supervised):
        raise UsageError(
            f"metrics= are measured beside a loss of output and target: let {type(task).__name__}"
            ".loss return its own."
        )
    return replace(task, metrics={**task.metrics, **metrics})


def _task(given: object) -> Task:
    loss, name = getattr(given, "loss", None), type(given).__name__
    has_forward = isinstance(given, nn.Module) and type(given).forward is not nn.Module.forward
    is_loss = has_forward or (callable(given) and not isinstance(given, nn.Module | type))
    if Task in type(given).__mro__ or (callable(loss) and not is_loss):
        _warn_of_untrained(given)
        return cast(Task, given)
    if not is_loss:
        raise UsageError(
            f"A task has a method loss(network, batch), or is a loss of output and target; the"
            f" {name} that was given is neither."
        )
    if inspect.isroutine(loss):
        raise UsageError(
            f"The {name} can be called and has a method loss: give nasp.Supervised(it) if it is a"
            " loss of output and target, or derive its class from nasp.Task."
        )
    return Supervised(cast(Callable[[Any, Any], Tensor], given))


def _warn_of_untrained(task: object) -> None:
    for name, held in getattr(task, "__dict__", {}).items() if module_of(task) is None else ():
        if isinstance(held, nn.Module) and any(w.requires_grad for w in held.parameters()):
            warnings.warn(
                f"No step trains the parameters of {type(task).__name__}.{name}: make the task an"
                " nn.Module to have them trained, or freeze them with requires_grad_(False).",
                UserWarning,
                stacklevel=3,
            )


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
