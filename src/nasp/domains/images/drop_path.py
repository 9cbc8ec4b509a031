"""Drop-path that rises through a training, beside the learning rate's cosine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from torchvision.ops import StochasticDepth

from nasp.errors import UsageError
from nasp.training.learner import Learner


class CosineWithDropPath:
    """The schedule of a training on images: the learning rate's cosine, and drop-path.

    Args:
        learner: trains the network.
        network: kept as it is; its `StochasticDepth` modules are set.
        cosine: of the learner's learning rate, an epoch a step.
        drop_path: the probability to drop in the last epoch, approached linearly from 0.
        epochs: in all.

    Raises:
        UsageError: `drop_path` is above 0 and the network has no drop-path module.
    """

    def __init__(
        self,
        learner: Learner,
        network: nn.Module,
        cosine: LRScheduler,
        drop_path: float,
        epochs: int,
    ) -> None:
        self._learner, self._network, self._cosine = learner, network, cosine
        self._modules = [m for m in network.modules() if isinstance(m, StochasticDepth)]
        if drop_path > 0 and not self._modules:
            raise UsageError("The network was built without drop-path: set drop_path to 0.")
        self._rise = drop_path / epochs
        self._set()

    def kept(self) -> nn.Module:
        """Return the network."""
        return self._network

    def measurable(self) -> nn.Module:
        """Return the network as the learner runs it."""
        return self._learner.network

    def end_epoch(self, _measured: Mapping[str, float]) -> dict[str, Any]:
        """Go on to the next epoch; return the learning rate of the one that ends."""
        lr = self._cosine.get_last_lr()[0]
        self._cosine.step()
        self._set()
        return {"lr": lr}

    def state_dict(self) -> dict[str, Any]:
        """Return the cosine's state; the epoch is in it."""
        return self._cosine.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self._cosine.load_state_dict(state)
        self._set()

    def _set(self) -> None:
        for module in self._modules:
            module.p = self._rise * self._cosine.last_epoch
