"""PC-DARTS against plain autograd: edge normalisation and warm-up."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nasp.spaces import SPACES, NetworkConfig
from nasp.strategies import STRATEGIES, strategy_config
from nasp.supernet.choice import Choice
from nasp.supernet.partial_channels import PartialChannels


def expected_weights(alphas: dict[str, Tensor], beta: Tensor) -> dict[str, Tensor]:
    """Return softmax(A) softmax(β), written out."""
    weights = {n: a.exp() / a.exp().sum(dim=1, keepdim=True) for n, a in alphas.items()}
    shares = beta.exp() / beta.exp().sum()
    return {"cell": weights["cell"] * shares[:, None], "alone": weights["alone"]}


def spread_beta(it: Any) -> Tensor:
    (beta,) = it.betas
    with torch.no_grad():
        beta.copy_(torch.tensor([0.8, -0.5]))
    return beta


def test_the_gradient_is_autograds_of_alphas_and_edges(small: Any) -> None:
    it = small.make("pc-darts", warmup_epochs=0)
    small.spread()
    beta = spread_beta(it)
    alphas = {n: a.detach().clone().requires_grad_() for n, a in small.supernet.alphas.items()}
    b = beta.detach().clone().requires_grad_()
    objective = small.objective(expected_weights(alphas, b), small.batch(0))
    *expected, onto_beta = torch.autograd.grad(objective, [*alphas.values(), b])
    it.arch_step(small.batch(0))
    for found, gradient in zip(small.alpha_gradients().values(), expected, strict=True):
        torch.testing.assert_close(found, gradient, rtol=0, atol=1e-12)
    torch.testing.assert_close(beta.grad, onto_beta, rtol=0, atol=1e-12)
    assert onto_beta.abs().max() > 1e-4


def test_a_weight_step_descends_the_loss_at_the_mixture(small: Any) -> None:
    it = small.make("pc-darts")
    small.spread()
    beta = spread_beta(it)
    before = small.snapshot()
    alphas = {n: a.detach() for n, a in small.supernet.alphas.items()}
    weights = dict(small.supernet.network.named_parameters())
    loss = small.loss(expected_weights(alphas, beta.detach()), small.batch(1))
    gradients = torch.autograd.grad(loss, list(weights.values()))
    it.weight_step(small.batch(1))
    for (name, w), gradient in zip(before.items(), gradients, strict=True):
        torch.testing.assert_close(weights[name], w - small.LR * gradient, rtol=0, atol=1e-12)


def test_edges_of_a_node_are_normalised_and_others_are_left_alone(small: Any) -> None:
    it = small.make("pc-darts")
    spread_beta(it)
    mixture = {name: p.detach() for name, p in it.mixture()[0].items()}
    assert float(mixture["cell"].sum()) == pytest.approx(1.0)
    assert mixture["cell"].sum(dim=1).tolist() == pytest.approx([0.785835, 0.214165])
    assert mixture["alone"].sum().item() == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("epochs", "settings", "warm"),
    [
        (50, {}, 15),
        (5, {}, 2),
        (1, {}, 0),
        (4, {"warmup_epochs": 3}, 3),
        (4, {"warmup_epochs": 0}, 0),
    ],
)
def test_the_alphas_rest_in_the_warm_up(
    small: Any, epochs: int, settings: dict[str, int], warm: int
) -> None:
    it = small.make("pc-darts", epochs=epochs, steps=2, **settings)
    alphas = {n: a.detach().clone() for n, a in small.supernet.alphas.items()}
    it.weight_steps = max(2 * warm - 1, 0)
    if warm > 0:
        assert it.arch_step(small.batch(0)) is None
        assert all(torch.equal(a, alphas[n]) for n, a in small.supernet.alphas.items())
        it.weight_step(small.batch(1))
    assert it.arch_step(small.batch(0)) is not None
    assert not any(torch.equal(a, alphas[n]) for n, a in small.supernet.alphas.items())


def test_edges_and_candidates_are_ranked_by_both_and_none_by_neither(small: Any) -> None:
    it = small.make("pc-darts")
    with torch.no_grad():
        small.supernet.alphas["cell"].copy_(torch.tensor([[0, 1, 0, 9.0], [0, 2, 0, 0]]))
        small.supernet.alphas["alone"].copy_(torch.tensor([[0, 0, 1, 9.0]]))
        it.betas[0].copy_(torch.tensor([0.0, 0.0]))
    assert dict(it.derive().edges) == {"cell/0": None, "cell/1": "conv", "alone": "skip"}
    with torch.no_grad():
        it.betas[0].copy_(torch.tensor([9.0, 0.0]))
    assert dict(it.derive().edges) == {"cell/0": "conv", "cell/1": None, "alone": "skip"}


def test_the_supernet_of_its_searches_has_a_quarter_of_the_channels() -> None:
    parts = STRATEGIES["pc-darts"].partial_channels
    assert parts == 4
    assert {r.partial_channels for n, r in STRATEGIES.items() if n != "pc-darts"} == {1}
    network = SPACES["darts"].supernet(NetworkConfig(channels=8, cells=3, partial_channels=parts))
    choices = [m for m in network.modules() if isinstance(m, Choice)]
    assert len(choices) == 3 * 14
    assert all(isinstance(o, PartialChannels) for choice in choices for o in choice.operations)


def test_the_defaults_are_the_authors() -> None:
    assert strategy_config("pc-darts", {}).model_dump() == {
        "lr": None,
        "betas": (0.5, 0.999),
        "weight_decay": 1e-3,
        "warmup_epochs": None,
    }
