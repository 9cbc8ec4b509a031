"""Looking at a network without changing it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nasp.errors import NaspError
from nasp.training.task import Batch, Task


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode; give each of its modules its own mode back."""
    # Module by module: network.train() would wake BatchNorms that their owner had frozen.
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def measured_loss(task: Task, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    """Return a task's loss and metrics, with no graph but for a loss that takes gradients itself.

    Args:
        task: the task.
        network: in the mode in which it is to be measured.
        batch: on the network's device.
    """
    try:
        with torch.no_grad():
            return task.loss(network, batch)
    except (RuntimeError, NaspError) as error:
        # "... does not require grad and does not have a grad_fn", as torch says it
        if "require grad" not in str(error):
            raise
    with torch.enable_grad():
        loss, metrics = task.loss(network, batch)
    return loss.detach(), metrics
