"""A figure over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any


def over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """Return mean, std (of a sample; 0 for one value), best, worst, and the values as ``seeds``.

    Args:
        values: one a seed, at least one; larger is better.
    """
    return {
        "mean": statistics.fmean(values),
        "std": statistics.stdev(values) if len(values) > 1 else 0.0,
        "best": max(values),
        "worst": min(values),
        "seeds": list(values),
    }
