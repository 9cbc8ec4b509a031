"""Means of a task's metrics over batches: of a network, or of one path of a supernet."""

from __future__ import annotations

import math
from collections.abc import Iterable

from lightning_fabric import Fabric
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nasp.supernet.copies import copied
from nasp.supernet.supernet import Supernet
from nasp.training.device import ranks_of
from nasp.training.figures import figures_and_errors
from nasp.training.task import Batch, Metrics, Task, score, scored_by

SCORES = ("score", "score_error")
"""What is measured beside a task's own metrics."""


def measure(network: nn.Module, batches: Iterable[Batch], task: Task, fabric: Fabric) -> Metrics:
    """Return loss and metrics as means over the examples, and the task's ``score``.

    Beside it ``score_error``, its standard error, where the batches tell: see
    `figures_and_errors`. Of several processes the first one measures.

    Args:
        network: set up by `fabric`, in the mode in which it is to be measured.
        batches: one pass; every example weighs the same; a batch
            whose examples cannot be counted weighs as one.
        task: the task.
        fabric: the device.

    Raises:
        UsageError: there is no batch.
    """
    means, errors = ranks_of(fabric).share(
        lambda: figures_and_errors(network, batches, task, fabric.device)
    )
    if not all(map(math.isfinite, means.values())):
        return {"score": -math.inf}  # such a network loses to every other
    by = scored_by(task, means).name
    known = {"score_error": errors[by]} if by in errors else {}
    return {**means, "score": score(task, means), **known}


def with_batch_statistics(supernet: Supernet) -> Supernet:
    """Return a copy in evaluation mode whose BatchNorms normalise by each batch.

    That is how every path ran while it was trained; the running statistics are those of all
    paths together, and of none. The copy's BatchNorms update nothing.
    """
    ranked = copied(supernet).eval()
    for module in ranked.modules():
        if isinstance(module, _BatchNorm):
            module.train()
            module.track_running_stats = False
    return ranked
