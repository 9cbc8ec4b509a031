"""The measured latency of an operation, with the spread of its measurement."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nasp.complexity.cached import Cached
from nasp.complexity.costs import at_rest
from nasp.runs.clock import timed

Clock = Callable[[Callable[[], object], torch.device], float]
"""Returns the seconds that a step takes on a device."""

WARMUP = 3
REPEATS = 15
PACE = 0.05
"""By what share of a time two processes differ in pace, on a machine that is otherwise idle."""


@dataclass(frozen=True)
class Measurement:
    """What was measured, and how sure it is.

    Attributes:
        value: of a time, the median of all repeats.
        spread: 0 for what can be counted; of a time, the distance between the quartiles of the
            repeats and `PACE` of their median: the median of another measurement, also by another
            process, lies within it as long as the machine is as busy as it was.
    """

    value: float
    spread: float = 0.0


def measure_latency(
    operation: nn.Module,
    *args: Any,
    clock: Clock = timed,
    **kwargs: Any,
) -> Measurement:
    """Time forward passes in evaluation mode, without a graph, after a warm-up.

    Args:
        operation: timed on the device of its inputs.
        args: its inputs.
        clock: times each repeat.
        kwargs: its named inputs.
    """
    leaves = pytree.tree_leaves((args, kwargs))
    device = next((x.device for x in leaves if isinstance(x, Tensor)), torch.device("cpu"))

    def step() -> None:
        operation(*args, **kwargs)

    with at_rest(operation):
        for _ in range(WARMUP):
            step()
        seconds = [clock(step, device) for _ in range(REPEATS)]
    first, median, third = statistics.quantiles(seconds, n=4, method="inclusive")
    return Measurement(median, third - first + PACE * median)


class Latency:
    """The median seconds of a forward pass, measured once an operation and shape.

    Args:
        clock: as in `measure_latency`.
    """

    def __init__(self, clock: Clock = timed) -> None:
        self.timing = Cached(partial(measure_latency, clock=clock))

    def __call__(self, operation: nn.Module, *args: Any, **kwargs: Any) -> float:
        """Return the median."""
        return self.timing(operation, *args, **kwargs).value

    def spread(self, operation: nn.Module, *args: Any, **kwargs: Any) -> float:
        """Return the spread of the same measurement."""
        return self.timing(operation, *args, **kwargs).spread
