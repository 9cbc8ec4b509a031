"""The settings of a search that are about complexity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from nasp.complexity.quantity import find_quantity, read_bound
from nasp.complexity.regulariser import Normalise
from nasp.errors import UsageError


def _share(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    number, percent, rest = value.strip().partition("%")
    try:
        return float(number + rest) / (100 if percent else 1)
    except ValueError as error:
        raise ValueError(f"'{value}' is no share: write 5% or 0.05") from error


class ComplexityConfig(BaseModel):
    """How a search minds what its network costs."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    complexity: float = Field(0.0, ge=0)
    """η, the weight of R(A): larger finds smaller networks."""
    cost: str = "parameters"
    """What R(A) counts (p_k): parameters, flops, macs, latency or memory; from Python own, too,
    for a function of your own."""
    normalise: Normalise = "edge"
    """Costs (p̄) by edge, the sum of an edge's costs, as in the paper, or over the network, the
    mean of these sums over all edges."""
    at_most: dict[str, float] = Field(default_factory=dict)
    """The found network keeps this: params=3.3M, macs=600M, latency=5ms,
    memory=20MB; repeatable. From Python also cost -> amount, in units, seconds or bytes."""

    target: dict[str, float] = Field(default_factory=dict)
    """The found network costs this, neither more nor less: params=0.4M, macs=600M, latency=5ms;
    repeatable. From Python also cost -> amount."""
    within: Annotated[float, BeforeValidator(_share)] = Field(0.05, gt=0, lt=1)
    """By what share a target may be missed: 5% or 0.05."""

    @field_validator("cost")
    @classmethod
    def _known(cls, name: str) -> str:
        try:
            return find_quantity(name).name
        except UsageError as error:
            raise ValueError(str(error)) from error

    @field_validator("at_most", "target", mode="before")
    @classmethod
    def _read(cls, bounds: Any) -> Any:
        try:
            return _amounts(bounds)
        except UsageError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _one_of_a_cost(self) -> ComplexityConfig:
        if both := sorted(self.at_most.keys() & self.target.keys()):
            raise ValueError(f"{both[0]} has a bound and a target: give one of them")
        return self


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
