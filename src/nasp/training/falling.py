"""A training in which nothing changes from epoch to epoch but the learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from nasp.training.learner import Learner
from nasp.training.rates import Rates


class Falling:
    """The course of a training: its learning rates; see `nasp.training.train.Course`.

    Args:
        learner: trains the network.
        network: kept as it is.
        rates: of the learner.
    """

    def __init__(self, learner: Learner, network: nn.Module, rates: Rates) -> None:
        self._learner, self._network, self._rates = learner, network, rates

    def kept(self) -> nn.Module:
        """Return the network."""
        return self._network

    def measurable(self) -> nn.Module:
        """Return the network as the learner runs it."""
        return self._learner.network

    def end_epoch(self, measured: Mapping[str, float]) -> dict[str, Any]:
        """Go on to the next epoch; return the learning rate of the one that ends."""
        lr = self._rates.last
        self._rates.end_epoch(measured)
        return {"lr": lr}

    def state_dict(self) -> dict[str, Any]:
        """Return the rates' state; the epoch is in it."""
        return self._rates.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self._rates.load_state_dict(state)
