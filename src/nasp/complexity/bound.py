"""One bound on a cost, or a target: its pressure in the search, by an augmented Lagrangian."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from torch import Tensor

from nasp.complexity.quantity import find_quantity
from nasp.complexity.table import CostTable
from nasp.complexity.target import Gauge
from nasp.supernet.architecture import Architecture
from nasp.supernet.path import Path

STIFFNESS = 1.0
"""ρ of the augmented Lagrangian: the quadratic part, in units of the loss."""


_ROUNDING = 1e-9
"""By what share of itself an edge of a target's range may be passed, since costs are floats."""


class Range(NamedTuple):
    """What a network may cost."""

    least: float
    most: float


def allowed(limit: float, within: float | None) -> Range:
    """Return what a network may cost by a bound, or by a target that may be missed by a share."""
    if within is None:
        return Range(0.0, limit)
    share = within + _ROUNDING
    return Range(limit * (1 - share), limit * (1 + share))


class Bound:
    """c(A) ≤ limit, or c(A) = limit, as a term of the search's objective.

    With g = c(A) / limit − 1, the term is (max(0, λ + ρ g)² − λ²) / 2ρ, whose gradient is
    max(0, λ + ρ g) ∇g: λ, the multiplier, grows while the architecture costs too much, and
    falls, not below 0, while there is room. c(A) = fixed + sum over edges, sum over k of c_k a_k
    is the network's cost at a discrete point and the expected cost of a mixture. Of a target both
    maxima are left out: the term is λ g + ρ g² / 2, and pushes from both sides.

    Args:
        gauge: what is bounded, and of which networks.
        limit: the most that a network may cost, or the target.
        table: what the candidates cost.
        steps_per_epoch: in an epoch at a constant g, λ moves by ρ g.
        within: by what share the target may be missed; None: it is no target.
    """

    def __init__(
        self,
        gauge: Gauge,
        limit: float,
        table: CostTable,
        steps_per_epoch: int,
        within: float | None = None,
    ) -> None:
        self.gauge = gauge
        self.limit = limit
        self.table = table
        self.within = within
        self.rate = STIFFNESS / steps_per_epoch
        self.multiplier = 0.0

    def __call__(self, alphas: Mapping[str, Tensor]) -> Tensor:
        """Return the term, a scalar with a graph to `alphas`."""
        violation = self.table.network(alphas) / self.limit - 1
        pressure = self.multiplier + STIFFNESS * violation
        if self.within is None:
            pressure = pressure.clamp_min(0)
        return (pressure**2 - self.multiplier**2) / (2 * STIFFNESS)

    def step(self, path: Path) -> None:
        """Move the multiplier by what the current path costs."""
        violation = self.table.of(path) / self.limit - 1
        moved = self.multiplier + self.rate * violation
        self.multiplier = max(0.0, moved) if self.within is None else moved

    @property
    def range(self) -> Range:
        """What a network may cost."""
        return allowed(self.limit, self.within)

    def reached(self, architecture: Architecture) -> Reached:
        """Return what the network of an architecture costs, measured on it."""
        measured = self.gauge.of(architecture)
        quantity = self.gauge.quantity
        return Reached(
            quantity.name,
            self.range.most,
            measured.value,
            measured.spread,
            self.gauge.target.name,
            None if self.within is None else self.limit,
            self.within or 0.0,
        )


@dataclass(frozen=True)
class Reached:
    """A bound or a target, and what a network costs.

    Attributes:
        cost: the name of the quantity.
        at_most: the bound, or the most that is within the target's tolerance.
        reached: the cost, measured on the network.
        spread: of that measurement.
        network: which network that is.
        target: None of a bound.
        within: by what share the target may be missed.
    """

    cost: str
    at_most: float
    reached: float
    spread: float
    network: str
    target: float | None = None
    within: float = 0.0

    @property
    def range(self) -> Range:
        """What the network may cost."""
        if self.target is None:
            return Range(0.0, self.at_most)
        return allowed(self.target, self.within)

    @property
    def is_met(self) -> bool:
        """Whether the network keeps the bound, or costs what it should."""
        return self.range.least <= self.reached <= self.range.most

    @property
    def miss(self) -> float:
        """By what share of it the cost is outside the range; 0 within."""
        least, most = self.range
        return max(0.0, self.reached / most - 1, 1 - self.reached / least if least else 0.0)

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
        asked = f"at most {most}"
        if self.target is not None:
            asked = f"target {quantity.written(self.target)} within {100 * self.within:.3g} %"
        how = "met" if self.is_met else "NOT met"
        return f"{quantity.label} {found}{spread}, {asked}: {how} ({self.network})"
