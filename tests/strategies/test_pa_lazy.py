"""The proximal algorithm that projects now and then."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nasp.strategies import strategy_config
from nasp.supernet.choice import Mixture


def states(it: Any, small: Any, steps: int) -> list[dict[str, torch.Tensor]]:
    seen = []
    for step in range(steps):
        it.arch_step(small.batch(2 * step))
        it.weight_step(small.batch(2 * step + 1))
        seen.append({n: a.detach().clone() for n, a in small.supernet.alphas.items()})
    return seen


def in_c(alphas: dict[str, torch.Tensor]) -> bool:
    return all(int((a != 0).sum()) <= 1 and a.min() >= 0 and a.max() <= 1 for a in alphas.values())


def test_a_period_of_one_is_the_standard_algorithm(small: Any) -> None:
    lazy = states(small.make("pa-lazy", period=1, lr=0.1), small, 5)
    standard = states(small.make("pa-standard", lr=0.1), small, 5)
    for one, other in zip(lazy, standard, strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_alphas_are_in_c_after_every_period_and_not_between(small: Any) -> None:
    seen = states(small.make("pa-lazy", period=3, lr=0.1), small, 9)
    assert [in_c(alphas) for alphas in seen] == [False, False, True] * 3


def test_between_projections_the_gradient_is_at_the_continuous_point(small: Any) -> None:
    it = small.make("pa-lazy", period=None, lr=0.05)
    states(it, small, 3)
    alphas = {n: a.detach().clone().requires_grad_() for n, a in small.supernet.alphas.items()}
    objective = small.objective(alphas, small.batch(9))
    expected = torch.autograd.grad(objective, list(alphas.values()))
    it.arch_step(small.batch(9))
    for found, gradient in zip(small.alpha_gradients().values(), expected, strict=True):
        torch.testing.assert_close(found, gradient, rtol=0, atol=1e-12)


def test_between_projections_all_candidates_train(small: Any) -> None:
    it = small.make("pa-lazy", period=2)
    supports = []
    for step in range(2):
        it.arch_step(small.batch(step))
        it.weight_step(small.batch(step))
        runs = [choices[0].run for choices in small.supernet.choices()]
        supports.append([run.support for run in runs if isinstance(run, Mixture)])
    assert supports[0] == [None] * 3
    assert sorted(len(support) for support in supports[1]) == [0, 1, 1]


def test_without_a_period_what_is_derived_is_the_only_projection(small: Any) -> None:
    it = small.make("pa-lazy", period=None, lr=0.1)
    seen = states(it, small, 4)
    assert not any(in_c(alphas) for alphas in seen)
    cell = seen[-1]["cell"]
    row, k = divmod(int(cell.argmax()), cell.shape[1])
    names = ("wide", "conv", "skip", "none")
    assert it.derive()[f"cell/{row}"] == names[k]
    assert it.derive()[f"cell/{1 - row}"] is None
    assert it.derive()["alone"] == names[int(seen[-1]["alone"].argmax())]


@pytest.mark.parametrize(("settings", "period"), [({}, 10), ({"period": None}, None)])
def test_settings(settings: dict[str, Any], period: int | None) -> None:
    assert strategy_config("pa-lazy", settings).model_dump() == {
        "lr": None,
        "betas": (0.5, 0.999),
        "weight_decay": 1e-3,
        "period": period,
    }
