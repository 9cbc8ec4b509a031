"""NASP without C1 against a few lines by hand."""

from __future__ import annotations

from typing import Any

import torch

from nasp.strategies import strategy_config


def test_six_iterations_by_hand(small: Any) -> None:
    it = small.make("nasp-without-c1", lr=0.3, betas=(0.6, 0.9), weight_decay=0.01)
    small.spread()
    with torch.no_grad():
        for a in small.supernet.alphas.values():
            a.abs_()
    alphas = {n: a.detach().clone() for n, a in small.supernet.alphas.items()}
    adam = torch.optim.Adam(alphas.values(), lr=0.3, betas=(0.6, 0.9), weight_decay=0.01)
    at_bounds = 0
    for step in range(6):
        leaves = {n: a.clone().requires_grad_() for n, a in alphas.items()}
        objective = small.objective(leaves, small.batch(2 * step))
        gradients = torch.autograd.grad(objective, list(leaves.values()))
        for a, gradient in zip(alphas.values(), gradients, strict=True):
            a.grad = gradient
        adam.step()
        for a in alphas.values():
            a.copy_(a.minimum(torch.tensor(1.0)).maximum(torch.tensor(0.0)))
            at_bounds += int(((a == 0) | (a == 1)).sum())
        it.arch_step(small.batch(2 * step))
        for name, a in small.supernet.alphas.items():
            torch.testing.assert_close(a.detach(), alphas[name], rtol=0, atol=1e-10)
        before = small.snapshot()
        weights = list(small.supernet.network.parameters())
        loss = small.loss(alphas, small.batch(2 * step + 1))
        slopes = torch.autograd.grad(loss, weights)
        it.weight_step(small.batch(2 * step + 1))
        for w, old, slope in zip(weights, before.values(), slopes, strict=True):
            torch.testing.assert_close(w.detach(), old - small.LR * slope, rtol=0, atol=1e-10)
    assert at_bounds > 0


def test_what_is_derived_is_the_largest_entries_none_too(small: Any) -> None:
    it = small.make("nasp-without-c1")
    with torch.no_grad():
        small.supernet.alphas["cell"].copy_(torch.tensor([[0, 0.4, 0, 0.9], [0, 0.5, 0, 0]]))
        small.supernet.alphas["alone"].copy_(torch.tensor([[0, 0, 0.3, 0.1]]))
    assert dict(it.derive().edges) == {"cell/0": "none", "cell/1": None, "alone": "skip"}


def test_alphas_start_at_a_half(small: Any) -> None:
    small.make("nasp-without-c1")
    assert all((a == 0.5).all() for a in small.supernet.alphas.values())
    settings = strategy_config("nasp-without-c1", {}).model_dump()
    assert settings == {"lr": None, "betas": (0.5, 0.999), "weight_decay": 1e-3}
