"""SNAS against plain autograd."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nasp.strategies import strategy_config


def redrawn(alphas: Tensor, temperature: float, generator: torch.Generator) -> Tensor:
    """Return the sample as the authors' code has it, drawn by the same numbers."""
    waits = torch.empty(alphas.shape, dtype=torch.float64).exponential_(generator=generator)
    return ((alphas - waits.log()) / temperature).softmax(dim=1)


def expected_samples(
    it: Any, small: Any, temperature: float
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator()
    generator.set_state(it.generator.get_state())
    alphas = {n: a.detach().clone().requires_grad_() for n, a in small.supernet.alphas.items()}
    return alphas, {n: redrawn(a, temperature, generator) for n, a in alphas.items()}


def test_the_gradient_is_autograds_through_the_sample(small: Any) -> None:
    it = small.make("snas", temperature=0.7)
    small.spread()
    alphas, drawn = expected_samples(it, small, 0.7)
    objective = small.objective(drawn, small.batch(0))
    expected = torch.autograd.grad(objective, list(alphas.values()))
    it.arch_step(small.batch(0))
    for found, gradient in zip(small.alpha_gradients().values(), expected, strict=True):
        torch.testing.assert_close(found, gradient, rtol=0, atol=1e-12)
        assert gradient.abs().max() > 1e-3


def test_a_weight_step_descends_the_loss_at_a_sample_of_its_own(small: Any) -> None:
    it = small.make("snas", temperature=0.7)
    it.arch_step(small.batch(0))
    before = small.snapshot()
    _, drawn = expected_samples(it, small, 0.7)
    weights = dict(small.supernet.network.named_parameters())
    loss = small.loss({n: d.detach() for n, d in drawn.items()}, small.batch(1))
    gradients = torch.autograd.grad(loss, list(weights.values()))
    it.weight_step(small.batch(1))
    for (name, w), gradient in zip(before.items(), gradients, strict=True):
        torch.testing.assert_close(weights[name], w - small.LR * gradient, rtol=0, atol=1e-12)


def test_the_temperature_reaches_its_end_in_the_last_epoch(small: Any) -> None:
    it = small.make("snas", epochs=3, steps=1)
    seen = []
    for step in range(3):
        seen.append(it.temperature)
        it.weight_step(small.batch(step))
    assert seen == pytest.approx([1.0, 0.515, 0.03])


def test_a_late_sample_is_nearer_to_one_hot(small: Any) -> None:
    it = small.make("snas", epochs=2, steps=1)

    def largest() -> float:
        rows = torch.cat([it.mixture()[0]["cell"].detach() for _ in range(50)])
        return float(rows.amax(dim=1).mean())

    early = largest()
    it.weight_step(small.batch(0))
    assert early < 0.8 < 0.98 < largest()


def test_alphas_start_at_one(small: Any) -> None:
    small.make("snas")
    alphas = torch.cat([a.detach().flatten() for a in small.supernet.alphas.values()])
    assert float(alphas.mean()) == pytest.approx(1.0, abs=0.02)
    assert 0.002 < float(alphas.std()) < 0.03


def test_none_is_derived_as_any_other(small: Any) -> None:
    it = small.make("snas")
    with torch.no_grad():
        small.supernet.alphas["cell"].copy_(torch.tensor([[0, 1, 0, 9.0], [0, 2, 0, 0]]))
        small.supernet.alphas["alone"].copy_(torch.tensor([[0, 0, 1, 9.0]]))
    assert dict(it.derive().edges) == {"cell/0": "none", "cell/1": None, "alone": "none"}


def test_the_defaults_are_the_authors() -> None:
    assert strategy_config("snas", {}).model_dump() == {
        "lr": None,
        "betas": (0.5, 0.999),
        "weight_decay": 1e-3,
        "temperature": 1.0,
        "final_temperature": 0.03,
    }
