"""Samples of the concrete distribution against its closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from nasp.strategies.concrete import concrete_sample

ROWS = 20_000
LOGITS = torch.tensor([1.0, 0.0, -1.0])


def sample(alphas: Tensor, temperature: float, seed: int = 0) -> Tensor:
    return concrete_sample({"t": alphas}, temperature, torch.Generator().manual_seed(seed))["t"]


@pytest.mark.parametrize("temperature", [10.0, 1.0, 0.1])
def test_the_largest_entry_is_drawn_by_softmax_at_any_temperature(temperature: float) -> None:
    drawn = sample(LOGITS.expand(ROWS, 3), temperature)
    torch.testing.assert_close(drawn.sum(dim=1), torch.ones(ROWS))
    counts = drawn.argmax(dim=1).bincount(minlength=3)
    expected = ROWS * LOGITS.softmax(dim=0)
    assert float(((counts - expected) ** 2 / expected).sum()) < 13.8  # p = 0.001, 2 degrees


def test_of_two_candidates_the_log_odds_are_logistic() -> None:
    a, temperature = torch.tensor([0.7, -0.2]), 2.0
    drawn = sample(a.expand(ROWS, 2), temperature)[:, 0].double()
    odds = temperature * (drawn.log() - (1 - drawn).log())
    # Logistic around a_0 - a_1: mean 0.9, variance π²/3.
    error = math.pi / math.sqrt(3 * ROWS)
    assert abs(float(odds.mean()) - 0.9) < 4 * error
    assert float(odds.var()) == pytest.approx(math.pi**2 / 3, rel=0.05)


def test_the_gradient_is_that_of_a_softmax_at_the_noise_that_was_drawn() -> None:
    a = torch.tensor([[0.3, -0.4]], dtype=torch.float64, requires_grad=True)
    drawn = sample(a, 0.5)
    (gradient,) = torch.autograd.grad(drawn[0, 0], a)
    share = float(drawn[0, 0].detach())
    slope = share * (1 - share) / 0.5
    assert gradient.tolist() == [pytest.approx([slope, -slope])]


def test_low_temperatures_give_one_hot_rows_and_high_ones_equal_rows() -> None:
    a = LOGITS.expand(100, 3)
    assert torch.allclose(sample(a, 1e-4).amax(dim=1), torch.ones(100), atol=1e-3)
    assert torch.allclose(sample(a, 1e5), torch.full((100, 3), 1 / 3), atol=1e-3)


def test_samples_are_the_generators_and_not_of_global_state() -> None:
    a = torch.zeros(4, 5)
    generator = torch.Generator().manual_seed(3)
    torch.manual_seed(0)
    first, second = (concrete_sample({"t": a}, 1.0, generator)["t"] for _ in range(2))
    torch.manual_seed(1)
    assert torch.equal(first, sample(a, 1.0, seed=3))
    assert not torch.equal(first, second)
