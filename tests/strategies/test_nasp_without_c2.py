"""NASP without C2: NASP as long as nothing is clipped, and out of [0, 1] after that."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nasp.strategies import strategy_config
from nasp.strategies.nasp import PAPER


def iterate(it: Any, small: Any, steps: int) -> list[dict[str, Tensor]]:
    small.spread()
    with torch.no_grad():
        for a in small.supernet.alphas.values():
            a.copy_(0.4 + 0.1 * a.tanh())  # without ties, and far from the bounds
    it.path = small.supernet.discretise(small.supernet.alphas)
    seen = []
    for step in range(steps):
        it.arch_step(small.batch(2 * step))
        it.weight_step(small.batch(2 * step + 1))
        state = {n: a.detach().clone() for n, a in small.supernet.alphas.items()}
        seen.append({**state, **small.snapshot()})
    return seen


def test_it_is_nasp_while_nothing_is_clipped(small: Any) -> None:
    settings: dict[str, Any] = {"lr": 0.01, "betas": (0.6, 0.9), "weight_decay": 0.01}
    found = iterate(small.make("nasp-without-c2", **settings), small, 6)
    expected = iterate(small.make("nasp", **{**PAPER, **settings}), small, 6)
    for one, other in zip(found, expected, strict=True):
        for name in other:
            torch.testing.assert_close(one[name], other[name], rtol=0, atol=1e-12)


def test_alphas_leave_the_unit_interval(small: Any) -> None:
    seen = iterate(small.make("nasp-without-c2", lr=0.6), small, 6)[-1]
    alphas = torch.cat([seen["cell"], seen["alone"]])
    assert alphas.min() < 0
    assert alphas.max() > 1
    clipped = iterate(small.make("nasp", **{**PAPER, "lr": 0.6}), small, 6)[-1]
    assert torch.cat([clipped["cell"], clipped["alone"]]).max() <= 1
    assert torch.cat([clipped["cell"], clipped["alone"]]).min() >= 0


def test_derive_is_the_discrete_point_of_the_last_iteration(small: Any) -> None:
    it = small.make("nasp-without-c2", lr=0.3)
    iterate(it, small, 2)
    assert it.derive() == small.supernet.architecture(
        small.supernet.discretise(small.supernet.alphas)
    )
    settings = strategy_config("nasp-without-c2", {}).model_dump()
    authors = strategy_config(
        "nasp", {"uniform": 0.0, "average": 0.0, "weight_steps": 1}
    ).model_dump()
    assert settings == {**authors, "c2": False}
