"""BatchNorm's running statistics, measured anew: a supernet's are of all its paths, and of none."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from nasp.training.batches import moved
from nasp.training.device import computing
from nasp.training.evaluation import evaluation_mode
from nasp.training.passes import EndlessPasses, SamePass
from nasp.training.recipe import BaseRecipe
from nasp.training.task import Batch, Task

BATCHES = 200
"""Over how many batches the statistics are taken at most."""
STALE = (
    "The BatchNorm statistics of this network are those of all paths of its search together, and"
    " its accuracy will be too low: {}."
)


def needs_recalibration(network: nn.Module) -> bool:
    """Tell whether a network has running statistics."""
    return bool(_tracking(network))


@dataclass(frozen=True)
class Recalibration:
    """What running statistics are measured with.

    Attributes:
        loader: batches of the training data.
        task: runs a network on a batch.
        config: seed, device, precision.
    """

    loader: Iterable[Batch] | EndlessPasses
    task: Task
    config: BaseRecipe

    def __call__(self, network: nn.Module, loader: Iterable[Batch] | None = None) -> None:
        """Give a network's BatchNorms the mean statistics of a pass over a loader.

        The network runs as in training, but without dropout; at most `BATCHES` batches are read,
        the same each time. Nothing else of the network changes, nor the random states. A loader
        that gives no batch leaves the statistics as they are, with a warning.

        Args:
            network: measured in place.
            loader: default the one that is kept.
        """
        norms, config = _tracking(network), self.config
        if not norms:
            return
        buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}
        momenta = [norm.momentum for norm in norms]
        fabric = config.fabric()
        with evaluation_mode(network), computing(fabric.device, config.deterministic):
            for module in network.modules():
                module.training = not isinstance(module, _DropoutNd)
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # the mean of all batches
            running = fabric.setup_module(network)
            try:
                batches = self.loader if loader is None else loader
                for batch in SamePass(batches, config.seed, BATCHES):
                    with torch.enable_grad():  # a loss may need it
                        self.task.loss(running, moved(batch, fabric.device))
            finally:
                measured: set[nn.Module] = {norm for norm in norms if norm.num_batches_tracked}
                for norm, momentum in zip(norms, momenta, strict=True):
                    norm.momentum = momentum
                _restore(network, buffers, measured)
        network.zero_grad()
        if not measured:
            way_out = "the loader gives no batch, give a network's build(data=...) one that does"
            warnings.warn(STALE.format(way_out), stacklevel=3)


def _tracking(network: nn.Module) -> list[_BatchNorm]:
    modules = (module for module in network.modules() if isinstance(module, _BatchNorm))
    return [module for module in modules if module.running_mean is not None]


def _restore(
    network: nn.Module, buffers: dict[str, torch.Tensor], measured: set[nn.Module]
) -> None:
    """Give back all buffers but the statistics that were measured."""
    kept = {id(buffer) for norm in measured for buffer in norm.buffers(recurse=False)}
    for name, buffer in network.named_buffers():
        if id(buffer) not in kept and name in buffers:
            buffer.copy_(buffers[name])
