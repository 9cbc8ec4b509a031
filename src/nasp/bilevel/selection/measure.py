"""Means of a task's metrics over batches: of a network, or of one path of a supernet."""

from __future__ import annotations

import math
from collections.abc import Iterable

from lightning_fabric import Fabric
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nasp.errors import UsageError
from nasp.supernet.copies import copied
from nasp.supernet.supernet import Supernet
from nasp.training.batches import batch_length, moved
from nasp.training.evaluation import measured_loss
from nasp.training.task import Batch, Metrics, Task, score


def measure(network: nn.Module, batches: Iterable[Batch], task: Task, fabric: Fabric) -> Metrics:
    """Return loss and metrics as means over the examples, and the task's ``score``.

    Args:
        network: set up by `fabric`, in the mode in which it is to be measured.
        batches: one pass; every example weighs the same; a batch
            whose examples cannot be counted weighs as one.
        task: the task.
        fabric: the device.

    Raises:
        UsageError: there is no batch.
    """
    sums: Metrics = {}
    examples = 0
    for batch in batches:
        length = batch_length(batch) or 1  # one that only its task can count weighs 1
        loss, metrics = measured_loss(task, network, moved(batch, fabric.device))
        for name, value in {"loss": loss, **metrics}.items():
            sums[name] = sums.get(name, 0.0) + length * float(value)
        examples += length
    if examples == 0:
        raise UsageError("The validation loader gives no batch: it needs at least one.")
    means = {name: total / examples for name, total in sums.items()}
    if not all(map(math.isfinite, means.values())):
        return {"score": -math.inf}  # such a network loses to every other
    return {**means, "score": score(task, means)}


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
