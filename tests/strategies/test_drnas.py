"""DrNAS against plain autograd and the Dirichlet distribution's closed forms."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasp.strategies import strategy_config
from nasp.strategies.drnas import DrNAS, DrNASConfig
from nasp.strategies.strategy import Horizon, Problem


def concentration(alphas: Tensor) -> Tensor:
    """Return elu + 1 by its definition."""
    return torch.where(alphas > 0, alphas + 1, alphas.exp())


def kl_to_ones(c: Tensor) -> Tensor:
    """Return KL(Dir(c) ‖ Dir(1)) of each row."""
    total = c.sum(dim=1)
    spread = torch.digamma(c) - torch.digamma(total)[:, None]
    constants = torch.lgamma(total) - torch.lgamma(c).sum(dim=1)
    return constants - torch.lgamma(torch.tensor(float(c.shape[1]))) + ((c - 1) * spread).sum(dim=1)


@pytest.mark.parametrize("kl", [0.0, 0.2])
def test_the_gradient_is_the_pathwise_one_and_the_anchors(small: Any, kl: float) -> None:
    it = small.make("drnas", kl=kl)
    small.spread()
    alphas = {n: a.detach().clone().requires_grad_() for n, a in small.supernet.alphas.items()}
    torch.manual_seed(9)
    drawn = {
        n: torch.distributions.Dirichlet(concentration(a)).rsample() for n, a in alphas.items()
    }
    objective = small.objective(drawn, small.batch(0))
    for a in alphas.values():
        objective = objective + kl * kl_to_ones(concentration(a)).sum()
    expected = torch.autograd.grad(objective, list(alphas.values()))
    torch.manual_seed(9)
    it.arch_step(small.batch(0))
    for found, gradient in zip(small.alpha_gradients().values(), expected, strict=True):
        torch.testing.assert_close(found, gradient, rtol=0, atol=1e-10)
        assert gradient.abs().max() > 1e-3


def test_samples_have_the_dirichlets_mean_and_its_gradient() -> None:
    rows = 20_000
    a = nn.Parameter(torch.empty(rows, 3))
    supernet: Any = SimpleNamespace(alphas={"t": a})
    learner: Any = None
    problem = Problem(supernet, learner, Horizon(1, 1), 0, lambda _: torch.zeros(()))
    it = DrNAS(problem, DrNASConfig())
    with torch.no_grad():
        a.copy_(torch.tensor([0.5, -1.0, 0.0]).expand(rows, 3))
    drawn = it.mixture()[0]["t"]
    c = concentration(torch.tensor([0.5, -1.0, 0.0]))
    mean = c / c.sum()
    deviation = (mean * (1 - mean) / (c.sum() + 1) / rows).sqrt()
    assert ((drawn.mean(dim=0) - mean).abs() < 4 * deviation).all()
    (gradient,) = torch.autograd.grad(drawn[:, 0].sum(), a)
    # ∂/∂c_0 of c_0 / Σc, then of elu: 1 where a > 0, else exp(a)
    by_c = torch.tensor([1 / c.sum() - c[0] / c.sum() ** 2, *[-c[0] / c.sum() ** 2] * 2])
    expected = by_c * torch.tensor([1.0, torch.tensor(-1.0).exp(), 1.0])
    error = gradient.std(dim=0) / rows**0.5
    assert ((gradient.mean(dim=0) - expected).abs() < 4 * error).all()


def test_the_anchor_is_where_the_alphas_are_zero(small: Any) -> None:
    it = small.make("drnas", kl=1.0)
    with torch.no_grad():
        for a in small.supernet.alphas.values():
            a.zero_()
    assert it.distance_to_anchor().item() == pytest.approx(0.0, abs=1e-12)
    small.spread()
    assert it.distance_to_anchor().item() > 0.1


def test_concentrations_stay_positive_far_below_zero(small: Any) -> None:
    it = small.make("drnas")
    with torch.no_grad():
        small.supernet.alphas["alone"].fill_(-1e4)
    assert torch.isfinite(it.mixture()[0]["alone"]).all()
    assert F.elu(torch.tensor(-1e4)) + 1 == 0


def test_none_is_derived_as_any_other(small: Any) -> None:
    it = small.make("drnas")
    with torch.no_grad():
        small.supernet.alphas["cell"].copy_(torch.tensor([[0, 1, 0, 9.0], [0, 2, 0, 0]]))
        small.supernet.alphas["alone"].copy_(torch.tensor([[0, 0, 1, 9.0]]))
    assert dict(it.derive().edges) == {"cell/0": "none", "cell/1": None, "alone": "none"}


def test_the_defaults_are_the_authors() -> None:
    assert strategy_config("drnas", {}).model_dump() == {
        "lr": None,
        "betas": (0.5, 0.999),
        "weight_decay": 1e-3,
        "kl": 0.0,
    }
