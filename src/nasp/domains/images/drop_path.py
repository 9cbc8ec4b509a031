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
        network: kept as it is.
        cosine: of the learner's learning rate, an epoch a step.
        drop_path: see `DropPathSchedule`.
        epochs: in all.
    """

    def __init__(
        self,
        learner: Learner,
        network: nn.Module,
        cosine: LRScheduler,
        drop_path: float,
        epochs: int,
    ) -> None:
        self._learner, self._network = learner, network
        self._cosine = cosine
        self._drop_path = DropPathSchedule(network, drop_path, epochs)

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
        self._drop_path.step()
        return {"lr": lr}

    def state_dict(self) -> dict[str, Any]:
        """Return the states of both schedules."""
        return {"cosine": self._cosine.state_dict(), "drop_path": self._drop_path.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self._cosine.load_state_dict(state["cosine"])
        self._drop_path.load_state_dict(state["drop_path"])


class DropPathSchedule:
    """Raises the drop probability of all drop-path modules from 0 to `last`, epoch by epoch.

    Args:
        network: its `StochasticDepth` modules are set.
        last: the probability in the last epoch, approached linearly.
        epochs: in all.

    Raises:
        UsageError: `last` is above 0 and the network has no drop-path module.
    """

    def __init__(self, network: nn.Module, last: float, epochs: int) -> None:
        self.modules = [m for m in network.modules() if isinstance(m, StochasticDepth)]
        if last > 0 and not self.modules:
            raise UsageError("The network was built without drop-path: set drop_path to 0.")
        self.last, self.epochs, self.epoch = last, epochs, 0
        self._set()

    def step(self) -> None:
        """Go on to the next epoch."""
        self.epoch += 1
        self._set()

    def _set(self) -> None:
        for module in self.modules:
            module.p = self.last * self.epoch / self.epochs

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch."""
        return {"epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.epoch = state["epoch"]
        self._set()
