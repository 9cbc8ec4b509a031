"""One bound on a cost: its pressure in the search, by an augmented Lagrangian."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from nasp.complexity.quantity import find_quantity
from nasp.complexity.table import CostTable
from nasp.complexity.target import Gauge
from nasp.supernet.architecture import Architecture
from nasp.supernet.path import Path

STIFFNESS = 1.0
"""ρ of the augmented Lagrangian: the quadratic part, in units of the loss."""


class Bound:
    """c(A) ≤ limit, as a term of the search's objective.

    With g = c(A) / limit − 1, the term is (max(0, λ + ρ g)² − λ²) / 2ρ, whose gradient is
    max(0, λ + ρ g) ∇g: λ, the multiplier, grows while the architecture costs too much, and
    falls, not below 0, while there is room. c(A) = fixed + sum over edges, sum over k of c_k a_k
    is the network's cost at a discrete point and the expected cost of a mixture.

    Args:
        gauge: what is bounded, and of which networks.
        limit: the most that a network may cost.
        table: what the candidates cost.
        steps_per_epoch: in an epoch at a constant g, λ moves by ρ g.
    """

    def __init__(self, gauge: Gauge, limit: float, table: CostTable, steps_per_epoch: int) -> None:
        self.gauge = gauge
        self.limit = limit
        self.table = table
        self.rate = STIFFNESS / steps_per_epoch
        self.multiplier = 0.0

    def __call__(self, alphas: Mapping[str, Tensor]) -> Tensor:
        """Return the term, a scalar with a graph to `alphas`."""
        violation = self.table.network(alphas) / self.limit - 1
        pressure = (self.multiplier + STIFFNESS * violation).clamp_min(0)
        return (pressure**2 - self.multiplier**2) / (2 * STIFFNESS)

    def step(self, path: Path) -> None:
        """Move the multiplier by what the current path costs."""
        violation = self.table.of(path) / self.limit - 1
        self.multiplier = max(0.0, self.multiplier + self.rate * violation)

    def reached(self, architecture: Architecture) -> Reached:
        """Return what the network of an architecture costs, measured on it."""
        measured = self.gauge.of(architecture)
        quantity = self.gauge.quantity
        return Reached(
            quantity.name, self.limit, measured.value, measured.spread, self.gauge.target.name
        )


@dataclass(frozen=True)
class Reached:
    """A bound, and what a network costs.

    Attributes:
        cost: the name of the quantity.
        at_most: the bound.
        reached: the cost, measured on the network.
        spread: of that measurement.
        network: which network that is.
    """

    cost: str
    at_most: float
    reached: float
    spread: float
    network: str

    @property
    def is_met(self) -> bool:
        """Whether the network keeps the bound."""
        return self.reached <= self.at_most

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**asdict(self), "met": self.is_met}

    @staticmethod
    def from_dict(figures: Mapping[str, Any]) -> Reached:
        """Return what `as_dict` was made of."""
        return Reached(**{name: value for name, value in figures.items() if name != "met"})

    def sentence(self) -> str:
        """Return what is to be said about it, such as ``latency 4.2 ms, at most 5 ms: met``."""
        quantity = find_quantity(self.cost)
        spread = f" ± {quantity.written(self.spread)}" if self.spread else ""
        found, most = quantity.written(self.reached), quantity.written(self.at_most)
        how = "met" if self.is_met else "NOT met"
        return f"{quantity.label} {found}{spread}, at most {most}: {how} ({self.network})"
