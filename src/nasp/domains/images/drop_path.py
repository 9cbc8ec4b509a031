"""Drop-path that rises through a training, beside the learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torchvision.ops import StochasticDepth

from nasp.errors import UsageError
from nasp.training.falling import Falling
from nasp.training.learner import Learner
from nasp.training.rates import Rates


class RatesWithDropPath(Falling):
    """The schedule of a training on images: the learning rates, and drop-path.

    Args:
        learner: trains the network.
        network: kept as it is; its `StochasticDepth` modules are set.
        rates: of the learner.
        drop_path: the probability to drop in the last epoch, approached linearly from 0.
        epochs: in all.

    Raises:
        UsageError: `drop_path` is above 0 and the network has no drop-path module.
    """

    def __init__(
        self,
        learner: Learner,
        network: nn.Module,
        rates: Rates,
        drop_path: float,
        epochs: int,
    ) -> None:
        super().__init__(learner, network, rates)
        self._modules = [m for m in network.modules() if isinstance(m, StochasticDepth)]
        if drop_path > 0 and not self._modules:
            raise UsageError("The network was built without drop-path: set drop_path to 0.")
        self._rise = drop_path / epochs
        self._set()

    def end_epoch(self, measured: Mapping[str, float]) -> dict[str, Any]:
        """Go on to the next epoch; return the learning rate of the one that ends."""
        line = super().end_epoch(measured)
        self._set()
        return line

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        super().load_state_dict(state)
        self._set()

    def _set(self) -> None:
        for module in self._modules:
            module.p = self._rise * self._rates.epochs
