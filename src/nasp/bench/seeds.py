"""A figure over seeds, and whether one contestant beats another over the same seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

DRAWS = 20_000
"""Assignments of signs that the permutation test looks at; up to 14 pairs these are all."""
DIGITS = 9
"""Differences, and their sums, are alike when they are so to so many digits after the point."""


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Return mean, std (of a sample; 0 for one value), best, worst, and the values as ``seeds``.

    Args:
        values: one a seed, at least one; larger is better.
    """
    return {
        "mean": statistics.fmean(values),
        "std": _std(values),
        "best": max(values),
        "worst": min(values),
        "seeds": list(values),
    }


@dataclass(frozen=True)
class Comparison:
    """Differences of two contestants over seeds that both have.

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
    """Compare two contestants; position by position the values are of one seed.

    Raises:
        ValueError: the lengths differ, or are 0.
    """
    differences = [round(a - b, DIGITS) for a, b in zip(first, second, strict=True)]
    if not differences:
        raise ValueError("there is no seed that both have")
    std = _std(differences)
    return Comparison(
        seeds=len(differences),
        mean=statistics.fmean(differences),
        std=std,
        wins=sum(difference > 0 for difference in differences),
        losses=sum(difference < 0 for difference in differences),
        p_t=float(stats.ttest_1samp(differences, 0.0).pvalue) if std > 0 else None,
        p_permutation=permutation_test(differences),
    )


def permutation_test(differences: Sequence[float]) -> float:
    """Return the two-sided p of the test that flips the signs of the differences.

    With n differences it cannot fall below 2 / 2ⁿ: five seeds never reach 0.05.
    """
    if len(differences) == 1:
        return 1.0
    found = stats.permutation_test(
        (differences,),
        lambda flipped, axis: np.round(np.sum(flipped, axis=axis), DIGITS),
        permutation_type="samples",
        vectorized=True,
        n_resamples=DRAWS,
        rng=0,
    )
    return float(found.pvalue)


def _std(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0
