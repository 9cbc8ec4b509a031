"""The network that a cost is about, and what the networks of a space cost there."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from torch import nn

from nasp.complexity.calls import Calls, record_calls, total
from nasp.complexity.latency import Latency, Measurement
from nasp.complexity.measure import cost_table, parameter_table
from nasp.complexity.quantity import Quantity
from nasp.complexity.store import Store
from nasp.complexity.table import CostTable
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Supernet


class Target:
    """The network that will be built of an architecture, and the supernet of all such networks.

    Args:
        name: how messages call it, such as ``20 cells, 36 channels``.
        supernet: has the edges and candidates of the one that is searched, each candidate as it
            will stand in the network.
        run: passes one example through the supernet.
        build: from an architecture to the network.
        example: what `run` passes, as people read it.
        is_separable: whether a network costs about what its candidates do, each run alone.
    """

    def __init__(
        self,
        name: str,
        supernet: Supernet,
        run: Callable[[], object],
        build: Callable[[Architecture], nn.Module],
        example: str = "example",
        is_separable: bool = True,
    ) -> None:
        self.name = name
        self.supernet = supernet
        self.run = run
        self.build = build
        self.example = example
        self.is_separable = is_separable

    @cached_property
    def calls(self) -> Calls:
        """What one example calls the network and its choices with."""
        return record_calls(self.supernet, self.run)


class Gauge:
    """One cost of the networks of a target.

    Args:
        quantity: what is measured.
        target: where.
        store: keeps what was measured, so that a run that goes on finds the same.
    """

    def __init__(self, quantity: Quantity, target: Target, store: Store) -> None:
        self.quantity = quantity
        self.target = target
        self.store = store
        self.cost = quantity.measure()

    def table(self, name: str, rest: bool = True) -> CostTable:
        """Return what every candidate costs, kept in the store under a name.

        Args:
            name: in the store.
            rest: whether the rest of the network is measured too; otherwise it is 0.
        """
        supernet = self.target.supernet

        def measure() -> dict[str, Any]:
            figures: dict[str, Any] = {"cost": self.quantity.name, "network": self.target.name}
            if not self.quantity.needs_inputs:
                return {**figures, **parameter_table(supernet, rest).as_dict()}
            calls = self.target.calls
            figures |= cost_table(supernet, self.cost, calls, rest).as_dict()
            if isinstance(self.cost, Latency):
                spread = cost_table(supernet, self.cost.spread, calls, rest)
                figures["spread"] = spread.as_dict()
            return figures

        return CostTable.from_dict(supernet, self.store.get(name, measure))

    def of(self, architecture: Architecture) -> Measurement:
        """Return what the network of an architecture costs, measured on it, once."""
        figures = self.store.get(self._name(architecture), lambda: self._of(architecture))
        return Measurement(**figures)

    def take(self, architecture: Architecture, other: Store) -> None:
        """Keep what another store holds of an architecture, instead of measuring it anew."""
        name = self._name(architecture)
        if name in other.figures:
            self.store.get(name, lambda: other.figures[name])

    def _name(self, architecture: Architecture) -> str:
        held = " ".join(architecture[edge] or "-" for edge in self.target.supernet.edges)
        return f"{self.quantity.name} of {held}"

    def _of(self, architecture: Architecture) -> dict[str, float]:
        with torch.random.fork_rng():  # weights are drawn, and do not matter
            network = self.target.build(architecture)
        root = self.target.supernet.network
        calls = self.target.calls[root] if self.quantity.needs_inputs else None
        spread = 0.0
        if isinstance(self.cost, Latency):
            spread = total(self.cost.spread, network, calls)
        return {"value": total(self.cost, network, calls), "spread": spread}
