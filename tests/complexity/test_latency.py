"""Latency: the mechanism by a clock of the test's own, and a real one within its spread."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from nasp.complexity import cost_table
from nasp.complexity.cached import Cached, structure
from nasp.complexity.calls import record_calls
from nasp.complexity.latency import PACE, REPEATS, WARMUP, Latency, Measurement, measure_latency
from nasp.supernet.supernet import Supernet


class Counting(nn.Module):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)
        self.passes: list[bool] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes.append(torch.is_grad_enabled() or self.training)
        return self.layer(x)


class Clock:
    """Says that steps take so many seconds, in turn."""

    def __init__(self, *seconds: float) -> None:
        self.seconds = seconds
        self.readings = 0

    def __call__(self, step: Callable[[], object], device: torch.device) -> float:
        step()
        self.readings += 1
        return self.seconds[(self.readings - 1) % len(self.seconds)]


def test_median_and_spread_of_the_repeats() -> None:
    operation = Counting()
    seconds = [5.0, 1.0, 2.0, 9.0, 3.0, 4.0, 8.0, 6.0, 7.0, 15.0, 11.0, 14.0, 12.0, 13.0, 10.0]
    assert len(seconds) == REPEATS
    timing = measure_latency(operation, torch.randn(1, 3), clock=Clock(*seconds))
    assert timing == Measurement(value=8.0, spread=7.0 + PACE * 8.0)
    assert operation.passes == [False] * (WARMUP + REPEATS)
    assert operation.training


def test_one_slow_repeat_moves_nothing() -> None:
    quiet = measure_latency(Counting(), torch.randn(1, 3), clock=Clock(1.0))
    disturbed = measure_latency(
        Counting(), torch.randn(1, 3), clock=Clock(*[1.0] * 12, 50.0, 50.0, 50.0)
    )
    assert quiet == disturbed == Measurement(1.0, PACE)


def test_equal_operations_on_equal_shapes_are_measured_once() -> None:
    clock = Clock(1.0)
    cost = Latency(clock)
    x = torch.randn(1, 3)
    first, second = nn.Linear(3, 3), nn.Linear(3, 3)
    assert cost(first, x) == cost(second, x + 1) == 1.0
    assert clock.readings == REPEATS
    for operation, inputs in (
        (first, torch.randn(2, 3)),
        (first, x.double().float().expand(4, 3)),
        (nn.Linear(3, 3, bias=False), x),
        (nn.Sequential(nn.Linear(3, 3)), x),
    ):
        before = clock.readings
        cost(operation, inputs)
        assert clock.readings == before + REPEATS


def test_what_makes_two_operations_differ() -> None:
    assert structure(nn.MaxPool2d(3, 1)) == structure(nn.MaxPool2d(3, 1))
    assert structure(nn.MaxPool2d(3, 1)) != structure(nn.MaxPool2d(3, 2))
    assert structure(nn.MaxPool2d(3, 1)) != structure(nn.AvgPool2d(3, 1))
    assert structure(nn.Conv2d(4, 4, 3)) != structure(nn.Conv2d(4, 4, 3, dilation=2))
    assert structure(nn.Linear(2, 2)) != structure(nn.Linear(2, 2).eval())
    # A list is like itself alone: what it holds could make any difference.
    assert structure(Counting()) == structure(Counting())
    one, other = nn.Identity(), nn.Identity()
    one.options, other.options = {1, 2}, {1, 2}
    assert structure(one) == structure(one)
    assert structure(one) != structure(other)
    assert hash(structure(one)) is not None


class Steps(nn.Module):
    """Does as much as a buffer, an attribute or a tensor of its own says."""

    def __init__(self, buffer: float = 1, attribute: Any = 1, tensor: float = 1) -> None:
        super().__init__()
        self.register_buffer("steps", torch.tensor(buffer))
        self.attribute = attribute
        self.tensor = torch.tensor([1.0, tensor])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x


@pytest.mark.parametrize(
    "settings",
    [{"buffer": 9}, {"attribute": 9}, {"attribute": True}, {"attribute": [1]}, {"tensor": 9}],
    ids=str,
)
def test_operations_that_differ_in_a_value_are_measured_apart(settings: dict[str, Any]) -> None:
    assert structure(Steps()) == structure(Steps())
    assert structure(nn.Sequential(Steps(**settings))) != structure(nn.Sequential(Steps()))
    clock = Clock(1.0)
    cost = Latency(clock)
    for operation in (Steps(), Steps(**settings), Steps(), Steps(**settings)):
        cost(operation, torch.randn(1, 3))
    assert clock.readings == 2 * REPEATS


def test_hooks_make_a_difference_and_statistics_of_torchs_layers_none() -> None:
    hooked = nn.Tanh()
    hooked.register_forward_hook(lambda *_: None)
    assert structure(hooked) == structure(hooked) != structure(nn.Tanh())
    trained = nn.BatchNorm1d(3)
    trained(torch.randn(5, 3))
    assert structure(trained) == structure(nn.BatchNorm1d(3))
    for make in (lambda: nn.LSTM(3, 3), lambda: nn.TransformerEncoderLayer(4, 2)):
        assert structure(make()) == structure(make())


def test_cached_measures_once() -> None:
    measured = []
    cached = Cached(lambda operation, x: measured.append(x) or len(measured))
    x = torch.randn(2)
    assert [cached(nn.Tanh(), x), cached(nn.Tanh(), x), cached(nn.ReLU(), x)] == [1, 1, 2]


class Busy:
    """A clock of steps of about 1 s: at a pace of its own, with noise that only ever adds."""

    def __init__(self, seed: int, noise: float) -> None:
        self.random = random.Random(seed)
        self.pace = 1 + self.random.uniform(0, 0.04)
        self.noise = noise

    def __call__(self, step: Callable[[], object], device: torch.device) -> float:
        return self.pace + self.random.expovariate(1 / self.noise)


@pytest.mark.parametrize("noise", [0.1, 0.001])
def test_a_table_measured_again_lies_within_the_spread_that_it_states(
    supernet: Supernet, noise: float
) -> None:
    x = torch.randn(1, 1, 8, 8)
    calls = record_calls(supernet, lambda: supernet(x))

    def entries(seed: int) -> list[tuple[float, float]]:
        cost = Latency(Busy(seed, noise))
        edges = [cost_table(supernet, c, calls, rest=False).own for c in (cost, cost.spread)]
        return list(zip(*(itertools.chain(*own) for own in edges), strict=True))

    first, *others = (entries(seed) for seed in range(8))
    pairs = [pair for other in others for pair in zip(first, other, strict=True)]
    near = [abs(one - two) <= max(spread, its) for (one, spread), (two, its) in pairs]
    assert len(near) == 7 * 19
    assert sum(near) >= 0.95 * len(near)


def test_the_real_clock_within_the_stated_spread() -> None:
    operation = nn.Sequential(nn.Linear(256, 256), nn.Tanh())
    x = torch.randn(64, 256)
    for _ in range(20):  # a machine that gets busier between the two says nothing
        one, two = measure_latency(operation, x), measure_latency(operation, x)
        assert one.value > 0
        assert one.spread >= 0
        if abs(one.value - two.value) <= max(one.spread, two.spread):
            return
    pytest.fail("twenty times two medians lay farther apart than their spread")
