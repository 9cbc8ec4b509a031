"""Where an architecture stands among random ones of its space, in what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

import torch

from nasp.complexity.quantity import find_quantity
from nasp.complexity.store import Store
from nasp.complexity.target import Gauge, Target
from nasp.supernet.architecture import Architecture

RANDOM, RANDOM_BUILT = 200, 20
"""Random architectures to compare with: by the sums of their candidates, or each built."""
COUNTED, TIMED = ("parameters", "flops", "macs"), ("latency",)


class AmongRandom(NamedTuple):
    """One cost of a network, beside random ones of the same size.

    Attributes:
        cost: its name.
        value: measured on the network.
        spread: of that measurement.
        estimate: the same as the random ones are measured: where it can be, by the sum of its
            candidates.
        random: how many random architectures.
        mean: of these.
        cheaper: share of these that cost less.
        others: what each of these costs.
    """

    cost: str
    value: float
    spread: float
    estimate: float
    random: int
    mean: float
    cheaper: float
    others: tuple[float, ...] = ()

    def half(self, cost: str) -> AmongRandom:
        """Return a cost that is half of this one, for every network."""
        return AmongRandom(
            cost,
            self.value / 2,
            self.spread / 2,
            self.estimate / 2,
            self.random,
            self.mean / 2,
            self.cheaper,
            tuple(other / 2 for other in self.others),
        )


def among_random(
    target: Target, architecture: Architecture, costs: Sequence[str], seed: int = 0
) -> list[AmongRandom]:
    """Return each cost of an architecture, beside those of random ones.

    Args:
        target: the networks of the space at one size.
        architecture: one of the space.
        costs: their names.
        seed: fixes the random architectures.
    """
    generator = torch.Generator().manual_seed(seed)
    supernet, count = target.supernet, RANDOM if target.is_separable else RANDOM_BUILT
    others = [supernet.random_path(generator) for _ in range(count)]
    found: list[AmongRandom] = []
    for name in costs:
        counted = next((row for row in found if row.cost == "flops"), None)
        if name == "macs" and counted is not None:  # not counted again on every network
            found.append(counted.half(name))
            continue
        gauge = Gauge(find_quantity(name), target, Store(None))
        measured = gauge.of(architecture)
        if target.is_separable:
            table = gauge.table(name)
            estimate = table.of(supernet.path(architecture))
            each = [table.of(other) for other in others]
        else:
            estimate = measured.value
            each = [gauge.of(supernet.architecture(other)).value for other in others]
        cheaper = sum(cost < estimate for cost in each) / count
        found.append(
            AmongRandom(
                name,
                measured.value,
                measured.spread,
                estimate,
                count,
                fmean(each),
                cheaper,
                tuple(each),
            )
        )
    return found
