"""The plain proximal algorithm against a few lines by hand."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nasp.strategies import strategy_config
from nasp.supernet.proximal import NodeGroup, prox_c

CELL = [NodeGroup((0, 1), keep=1)]


class ByHand:
    """A_{t+1} = prox_C(A_t − ε ∇_A F(w_t, A_t)) with Adam, through plain sums."""

    def __init__(self, small: Any, **adam: Any) -> None:
        self.small = small
        self.alphas = {n: a.detach().clone() for n, a in small.supernet.alphas.items()}
        self.optimizer = torch.optim.Adam(list(self.alphas.values()), **adam)

    def gradient_step(self, data: Any) -> None:
        leaves = {n: a.detach().clone().requires_grad_() for n, a in self.alphas.items()}
        objective = self.small.objective(leaves, data)
        for a, gradient in zip(
            self.alphas.values(), torch.autograd.grad(objective, list(leaves.values())), strict=True
        ):
            a.grad = gradient
        self.optimizer.step()

    def project(self) -> None:
        for name, groups in (("cell", CELL), ("alone", [])):
            self.alphas[name].copy_(prox_c(self.alphas[name], groups))

    def weight_gradients(self, data: Any) -> list[Tensor]:
        weights = list(self.small.supernet.network.parameters())
        return list(torch.autograd.grad(self.small.loss(self.alphas, data), weights))


def test_eight_iterations_by_hand(small: Any) -> None:
    adam = {"lr": 0.1, "betas": (0.6, 0.9), "weight_decay": 0.01}
    it = small.make("pa-standard", **adam)
    small.spread()
    hand = ByHand(small, **adam)
    for step in range(8):
        hand.gradient_step(small.batch(2 * step))
        hand.project()
        it.arch_step(small.batch(2 * step))
        for name, a in small.supernet.alphas.items():
            torch.testing.assert_close(a.detach(), hand.alphas[name], rtol=0, atol=1e-11)
        before = small.snapshot()
        gradients = hand.weight_gradients(small.batch(2 * step + 1))
        it.weight_step(small.batch(2 * step + 1))
        for (name, w), gradient in zip(before.items(), gradients, strict=True):
            after = small.supernet.network.get_parameter(name)
            torch.testing.assert_close(after.detach(), w - small.LR * gradient, rtol=0, atol=1e-11)


def test_after_every_step_the_alphas_are_in_c(small: Any) -> None:
    it = small.make("pa-standard", lr=0.3)
    for step in range(5):
        it.arch_step(small.batch(step))
        cell, alone = (a.detach() for a in small.supernet.alphas.values())
        assert int((cell != 0).any(dim=1).sum()) <= 1
        assert int((cell != 0).sum()) <= 1
        assert int((alone != 0).sum()) <= 1
        assert ((cell >= 0) & (cell <= 1)).all()
        found = it.derive()
        assert sum(found[f"cell/{row}"] is not None for row in range(2)) == 1


def test_an_entry_that_fell_to_zero_still_stands_for_its_candidate(small: Any) -> None:
    it = small.make("pa-standard")
    with torch.no_grad():
        small.supernet.alphas["alone"].copy_(torch.tensor([[-2.0, -1.0, -3.0, -4.0]]))
    it.project()
    assert not small.supernet.alphas["alone"].any()
    assert it.derive()["alone"] == "conv"
    it.weight_step(small.batch(0))  # the edge runs, times 0


def test_weight_steps_run_what_is_kept_alone(small: Any) -> None:
    it = small.make("pa-standard")
    it.arch_step(small.batch(0))
    ran = []
    for choices in small.supernet.choices():
        for choice in choices:
            for name, operation in choice.candidates.items():
                operation.register_forward_hook(lambda *_, name=name: ran.append(name))
    it.weight_step(small.batch(1))
    assert len(ran) == 3  # one edge in each of two cells, and the one alone


def test_alphas_start_at_a_half_and_ties_are_the_seeds(small: Any) -> None:
    firsts = set()
    for seed in range(10):
        it = small.make("pa-standard", seed=seed)
        assert all((a == 0.5).all() for a in small.supernet.alphas.values())
        firsts.add(it.derive())
        assert it.derive() in firsts
    assert len(firsts) > 3


def test_the_defaults_are_the_authors_of_nasp() -> None:
    settings = strategy_config("pa-standard", {}).model_dump()
    assert settings == {"lr": None, "betas": (0.5, 0.999), "weight_decay": 1e-3}
