"""Whether one contender beats another over the same seeds."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch

EXACT_UP_TO = 12
"""Pairs; of more, the permutation test draws `DRAWS` assignments of signs."""
DRAWS = 20_000
TIE = 1e-9
"""Sums that differ by less are equal: they are of the same numbers in another order."""


@dataclass(frozen=True)
class Comparison:
    """Differences of two contenders over seeds that both have.

    Attributes:
        seeds: how many.
        mean: of the differences, in points of accuracy; above 0 the first is better.
        std: of the differences.
        wins: seeds in which the first is better.
        losses: seeds in which it is worse.
        p_t: two-sided, of Student's paired t-test; None where there are fewer than 2 seeds or
            all differences are equal.
        p_permutation: two-sided, of the sign-flip permutation test of the mean.
    """

    seeds: int
    mean: float
    std: float
    wins: int
    losses: int
    p_t: float | None
    p_permutation: float


def compare(first: Sequence[float], second: Sequence[float]) -> Comparison:
    """Compare two contenders; position by position the values are of one seed.

    Raises:
        ValueError: the lengths differ, or are 0.
    """
    differences = [a - b for a, b in zip(first, second, strict=True)]
    if not differences:
        raise ValueError("there is no seed that both have")
    std = statistics.stdev(differences) if len(differences) > 1 else 0.0
    return Comparison(
        seeds=len(differences),
        mean=statistics.fmean(differences),
        std=std,
        wins=sum(difference > 0 for difference in differences),
        losses=sum(difference < 0 for difference in differences),
        p_t=t_test(differences) if std > 0 else None,
        p_permutation=permutation_test(differences),
    )


def t_test(differences: Sequence[float]) -> float:
    """Return the two-sided p of Student's t-test that the mean is 0.

    Args:
        differences: at least 2, not all equal.
    """
    freedom = len(differences) - 1
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    t = abs(statistics.fmean(differences)) / error
    # With t = √ν tan θ, Student's density is that of cos(θ)^(ν-1) on (-π/2, π/2).
    angle = math.atan(t / math.sqrt(freedom))
    inside = _cosine_integral(freedom - 1, angle) / _cosine_integral(freedom - 1, math.pi / 2)
    return max(0.0, 1 - inside)


def permutation_test(differences: Sequence[float]) -> float:
    """Return the two-sided p of the test that flips the signs of the differences.

    With n differences it cannot fall below 2 / 2ⁿ: five seeds never reach 0.05.
    """
    found = abs(math.fsum(differences)) - TIE
    count = len(differences)
    if count <= EXACT_UP_TO:
        signs = list(itertools.product((1, -1), repeat=count))
        sums = [math.fsum(s * d for s, d in zip(row, differences, strict=True)) for row in signs]
        return sum(abs(total) >= found for total in sums) / len(sums)
    generator = torch.Generator().manual_seed(0)
    drawn = 2 * torch.randint(2, (DRAWS, count), generator=generator).double() - 1
    totals = drawn @ torch.tensor(differences, dtype=torch.float64)
    # The assignment that was found is one of those drawn.
    return (1 + int((totals.abs() >= found).sum())) / (1 + DRAWS)


def _cosine_integral(power: int, angle: float) -> float:
    """Return the integral of cos^power from 0 to `angle`."""
    if power == 0:
        return angle
    if power == 1:
        return math.sin(angle)
    inner = math.cos(angle) ** (power - 1) * math.sin(angle)
    return (inner + (power - 1) * _cosine_integral(power - 2, angle)) / power
