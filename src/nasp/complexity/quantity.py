"""The kinds of cost by name: how each is measured, read and written."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from nasp.complexity.cached import Cached
from nasp.complexity.costs import Cost, flops, macs, memory, parameter_count
from nasp.complexity.latency import Latency
from nasp.errors import UsageError, unknown_name

_COUNTS = {"": 1.0, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}
_SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
_BYTES = {"B": 1.0, "KB": 1e3, "MB": 1e6, "GB": 1e9}
_BINARY = {"KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30}


@dataclass(frozen=True)
class Quantity:
    """A kind of cost.

    Attributes:
        name: as in ``--cost`` and ``--at-most``.
        label: what it is, as people read it.
        units: unit -> its size, the smallest first.
        measure: makes the cost.
        needs_inputs: whether it depends on what an operation is called with.
        adds_up: whether a network costs exactly what its candidates do and a fixed part.
    """

    name: str
    label: str
    units: Mapping[str, float]
    measure: Callable[[], Cost]
    needs_inputs: bool = True
    adds_up: bool = False

    def unit(self, value: float) -> tuple[str, float]:
        """Return the unit in which people write an amount, and its size."""
        sizes = list(self.units.items())
        return next(((u, s) for u, s in reversed(sizes) if s <= abs(value)), sizes[0])

    def written(self, value: float) -> str:
        """Return an amount as people write it, such as ``3.3M`` or ``5 ms``."""
        unit, size = self.unit(value)
        space = "" if self.units is _COUNTS else " "
        return f"{value / size:.4g}{space}{unit}".rstrip()

    def read(self, text: str) -> float:
        """Read an amount, such as ``3.3M``, ``5ms`` or ``1.5e6``; times and bytes need a unit.

        Raises:
            UsageError: it is no amount above zero, or not in a unit of this quantity.
        """
        match = re.fullmatch(r"\s*([0-9.]+(?:[eE][+-]?[0-9]+)?)\s*([A-Za-zµμ]*)\s*", text)
        units = {**_BINARY, **self.units} if self.units is _BYTES else self.units
        known = {unit.lower(): size for unit, size in units.items()}
        try:
            if match is None:
                raise ValueError
            unit = match.group(2).replace("µ", "u").replace("μ", "u").lower()
            value = float(match.group(1)) * known[unit]
            if not 0 < value < math.inf:
                raise ValueError
        except (ValueError, KeyError) as error:
            suffixes = ", ".join(unit for unit in units if unit)
            example = "5ms" if self.units is _SECONDS else "3.3M" + ("B" * (units is not _COUNTS))
            bare = " or none" if "" in units else ""
            raise UsageError(
                f"'{text}' is no amount of {self.label}: write a number above 0 and a unit"
                f" ({suffixes}{bare}), such as {example}."
            ) from error
        return value


QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        Quantity("parameters", "parameters", _COUNTS, lambda: parameter_count, False, True),
        Quantity("flops", "FLOPs", _COUNTS, lambda: Cached(flops), adds_up=True),
        Quantity("macs", "multiply-adds", _COUNTS, lambda: Cached(macs), adds_up=True),
        Quantity("latency", "latency", _SECONDS, Latency),
        Quantity("memory", "activation memory", _BYTES, lambda: Cached(memory)),
    )
}
"""What nasp measures itself; see `nasp.complexity.costs` and `nasp.complexity.latency`."""

OWN = "own"
"""The name of a cost that is a function of the user's."""

_ALIASES = {"params": "parameters", "flop": "flops", "mac": "macs"}


def own_quantity(cost: Cost | None) -> Quantity:
    """Return the kind of cost that a function of the user's measures."""

    def measure() -> Cost:
        if cost is None:
            raise UsageError(
                "Cost 'own' is a function: give it to nasp.search(..., cost=function)."
            )
        return cost

    return Quantity(OWN, "own cost", {"": 1.0}, measure)


def find_quantity(name: str, own: Cost | None = None) -> Quantity:
    """Return the kind of cost of this name, or of its short form ``params``.

    Args:
        name: its name; ``"own"`` is the cost `own`.
        own: a function of the user's.

    Raises:
        UsageError: there is none.
    """
    name = _ALIASES.get(name.lower(), name.lower())
    if name == OWN:
        return own_quantity(own)
    if name not in QUANTITIES:
        raise unknown_name("cost", name, list(QUANTITIES))
    return QUANTITIES[name]


def read_bound(text: str) -> tuple[str, float]:
    """Read ``NAME=AMOUNT``, such as ``params=3.3M``; return the cost's name and the amount.

    Raises:
        UsageError: no such cost, or no such amount of it.
    """
    name, separator, amount = text.partition("=")
    if not separator:
        raise UsageError(
            f"A bound is NAME=AMOUNT, such as params=3.3M or latency=5ms, not '{text}'."
        )
    quantity = find_quantity(name.strip())
    return quantity.name, quantity.read(amount)
