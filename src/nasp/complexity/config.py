"""The settings of a search that are about complexity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from nasp.complexity.quantity import find_quantity, read_bound
from nasp.complexity.regulariser import Normalise
from nasp.errors import UsageError


class ComplexityConfig(BaseModel):
    """How a search minds what its network costs.

    Attributes:
        complexity: η, the weight of R(A): larger finds smaller networks.
        cost: p_k in R(A): ``"parameters"``, ``"flops"``, ``"macs"``, ``"latency"``, ``"memory"``,
            or ``"own"`` for a function of your own.
        normalise: p̄ in R(A): ``"edge"``, the sum of an edge's costs, as in the paper;
            ``"network"``, the mean of these sums over all edges.
        at_most: bounds that the found network keeps, cost -> amount (a number in units,
            seconds or bytes, or text such as ``"3.3M"`` or ``"5ms"``); also taken as one text
            ``"params=3.3M"`` or several.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    complexity: float = Field(0.0, ge=0)
    cost: str = "parameters"
    normalise: Normalise = "edge"
    at_most: dict[str, float] = Field(default_factory=dict)

    @field_validator("cost")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            return find_quantity(name).name
        except UsageError as error:
            raise ValueError(str(error)) from error

    @field_validator("at_most", mode="before")
    @classmethod
    def _read(cls, bounds: Any) -> Any:
        try:
            return _amounts(bounds)
        except UsageError as error:
            raise ValueError(str(error)) from error


def _amounts(bounds: Any) -> Any:
    if isinstance(bounds, str):
        bounds = [bounds]
    if isinstance(bounds, Sequence):
        pairs = [read_bound(str(text)) for text in bounds]
    elif isinstance(bounds, Mapping):
        pairs = [_amount(str(name), value) for name, value in bounds.items()]
    else:
        return bounds
    names = [name for name, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"There are two bounds on {twice[0]}: give one.")
    return dict(pairs)


def _amount(name: str, value: Any) -> tuple[str, float]:
    quantity = find_quantity(name)
    if isinstance(value, str):
        return quantity.name, quantity.read(value)
    if not 0 < float(value) < float("inf"):
        raise UsageError(f"A bound on {quantity.name} must be above 0 and finite, not {value}.")
    return quantity.name, float(value)
