"""Both orders of DARTS against plain autograd, and what they derive."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from nasp.complexity import Regulariser, parameter_counts
from nasp.errors import UsageError
from nasp.strategies import Horizon, Problem, make_strategy, strategy_config
from nasp.strategies import darts_second_order as second
from nasp.strategies.darts import DARTS, DARTSConfig
from nasp.strategies.darts_second_order import DARTSSecondOrder
from nasp.strategies.relaxation import Relaxation
from nasp.supernet.choice import Choice, Mixture, Node
from nasp.supernet.supernet import Supernet
from nasp.supernet.zero import Zero
from nasp.training.learner import Learner
from nasp.training.task import Batch

LR = 0.3
HORIZON = Horizon(1, 1)


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Classification:
    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        return F.cross_entropy(network(batch[0]), batch[1]), {}


def edge(share: str | None = None, dropout: float = 0.0) -> Choice:
    conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)
    return Choice(
        {
            "conv": nn.Sequential(conv, nn.BatchNorm2d(3), nn.Tanh(), nn.Dropout(dropout)),
            "skip": nn.Identity(),
            "none": Zero(),
        },
        share,
    )


class Net(nn.Module):
    """Four edges that share two rows, one of their own, and a classifier."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 3, 3, padding=1)
        self.cells = nn.ModuleList(
            Node([edge(f"cell/{row}", dropout) for row in range(2)], keep=1) for _ in range(2)
        )
        self.alone = edge()
        self.head = nn.Linear(3, 4)

    def forward(self, x: Tensor) -> Tensor:
        s = self.stem(x)
        t = s.tanh()
        for cell in self.cells:
            s, t = t, cell(s, t)
        return self.head((self.alone(t) + s).mean(dim=(2, 3)))


def batch(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(6, 1, 5, 5, generator=generator)
    return x, torch.randint(4, (6,), generator=generator)


def search(
    name: str, sgd: dict[str, float] | None = None, dropout: float = 0.0, **options: Any
) -> Any:
    torch.manual_seed(1)
    supernet = Supernet(Net(dropout))
    accumulate = options.pop("accumulate", 1)
    clip = options.pop("clip", 5.0)
    learner = Learner(
        Fabric(accelerator="cpu", devices=1),
        supernet,
        Classification(),
        supernet.weights(),
        lambda weights: torch.optim.SGD(weights, lr=LR, **(sgd or {})),
        accumulate=accumulate,
        clip=clip,
    )
    penalty = Regulariser(parameter_counts(supernet), options.pop("complexity", 0.0))
    strategy = make_strategy(name, Problem(supernet, learner, HORIZON, 4, penalty), options)
    with torch.no_grad():  # far from uniform, so that the softmax's own gradient matters
        for a in supernet.alphas.values():
            a.mul_(1e3)
    return strategy


def no_penalty(alphas: Mapping[str, Tensor]) -> Tensor:
    return torch.zeros(())


def supernet_of(strategy: Any) -> Supernet:
    return relaxation_of(strategy).supernet


def learner_of(strategy: Any) -> Learner:
    return relaxation_of(strategy).learner


def relaxation_of(strategy: Any) -> Relaxation:
    assert isinstance(strategy, Relaxation)
    return strategy


def loss_at(supernet: Supernet, weights: dict[str, Tensor], data: Batch) -> Tensor:
    return F.cross_entropy(functional_call(supernet.network, weights, (data[0],)), data[1])


def exact(strategy: Any, val: Batch, train: Batch | None, eta: float = 0.0) -> dict[str, Tensor]:
    """Return ∇_A [L_val(w − ξ (c ∇_w L_train + λ w + μ m), A) + η R] by a graph through it all.

    c is what the weights' gradient is clipped by.
    """
    supernet = supernet_of(strategy)
    alphas = supernet.alphas
    mixture = {name: a.softmax(dim=1) for name, a in alphas.items()}
    supernet.mixture(mixture)
    weights: dict[str, Tensor] = dict(supernet.network.named_parameters())
    if train is not None:
        optimizer = learner_of(strategy).optimizer
        group = optimizer.param_groups[0]
        found = torch.autograd.grad(
            loss_at(supernet, weights, train), list(weights.values()), create_graph=True
        )
        norm = float(torch.stack([g.detach().norm() for g in found]).norm())
        shrink = min(1.0, (learner_of(strategy).clip or math.inf) / (norm + 1e-6))
        ahead = {}
        for (name, w), gradient in zip(weights.items(), found, strict=True):
            moment = optimizer.state.get(w, {}).get("momentum_buffer")
            step = shrink * gradient + group["weight_decay"] * w.detach()
            if moment is not None:
                step = step + group["momentum"] * moment
            ahead[name] = w.detach() - group["lr"] * step
        weights = ahead
    objective = loss_at(supernet, weights, val)
    objective = objective + eta * Regulariser(parameter_counts(supernet))(mixture)
    gradients = torch.autograd.grad(objective, list(alphas.values()))
    return dict(zip(alphas, gradients, strict=True))


def taken(strategy: Any, val: Batch) -> dict[str, Tensor]:
    """Return the gradient of an architecture step."""
    assert strategy.arch_step(val) is not None
    return {n: a.grad.clone() for n, a in supernet_of(strategy).alphas.items()}  # type: ignore[union-attr]


@pytest.mark.parametrize("accumulate", [1, 3])
def test_first_order_is_autograds_gradient(accumulate: int) -> None:
    it = search("darts", complexity=0.7, accumulate=accumulate)
    if accumulate == 1:
        expected = exact(it, batch(0), None, eta=0.7)
    else:  # BatchNorm sees each part on its own
        parts = [tuple(t[2 * i : 2 * i + 2] for t in batch(0)) for i in range(3)]
        each = [exact(it, part, None, eta=0.7) for part in parts]
        expected = {name: torch.stack([e[name] for e in each]).mean(dim=0) for name in each[0]}
    found = taken(it, batch(0))
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-12)
        assert gradient.abs().max() > 1e-3


@pytest.mark.parametrize("clip", [None, 5.0, 0.3])
@pytest.mark.parametrize(
    "sgd", [{}, {"momentum": 0.9, "weight_decay": 0.05}], ids=["plain", "momentum and decay"]
)
def test_second_order_is_the_gradient_through_the_weight_step(
    sgd: dict[str, float], clip: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second, "RADIUS", 1e-4)  # what is left is the finite difference's error
    it = search("darts-second-order", sgd, complexity=0.7, clip=clip)
    for step in range(3):
        it.weight_step(batch(step))
    expected = exact(it, batch(9), batch(2), eta=0.7)
    first_order = exact(it, batch(9), None, eta=0.7)
    found = taken(it, batch(9))
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-7)
        assert (gradient - first_order[name]).abs().max() > 1e-4


def test_the_papers_radius_is_close() -> None:
    it = search("darts-second-order")
    it.weight_step(batch(0))
    expected = exact(it, batch(9), batch(0))
    for name, gradient in taken(it, batch(9)).items():
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-4)


def test_dropout_does_not_drown_the_finite_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for radius in (1e-2, 1e-4):
        monkeypatch.setattr(second, "RADIUS", radius)
        it = search("darts-second-order", dropout=0.3)
        it.weight_step(batch(0))
        torch.manual_seed(5)
        found.append(taken(it, batch(9)))
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], rtol=0, atol=1e-3)


def test_second_order_moves_nothing_before_a_training_batch() -> None:
    it = search("darts-second-order")
    before = {n: a.detach().clone() for n, a in supernet_of(it).alphas.items()}
    assert it.arch_step(batch(0)) is None
    assert all(torch.equal(a, before[n]) for n, a in supernet_of(it).alphas.items())
    it.weight_step(batch(1))
    assert it.arch_step(batch(0)) is not None
    assert not any(torch.equal(a, before[n]) for n, a in supernet_of(it).alphas.items())


def test_second_order_puts_the_weights_back_to_the_bit() -> None:
    torch.set_default_dtype(torch.float32)
    it = search("darts-second-order", {"momentum": 0.9, "weight_decay": 3e-4})
    it.weight_step(batch(0))
    weights = learner_of(it).weights
    before = [w.detach().clone() for w in weights]
    buffers = [learner_of(it).optimizer.state[w]["momentum_buffer"].clone() for w in weights]
    it.arch_step(batch(1))
    for w, value, buffer in zip(weights, before, buffers, strict=True):
        assert torch.equal(w, value)
        assert torch.equal(learner_of(it).optimizer.state[w]["momentum_buffer"], buffer)
        assert w.grad is None


def test_a_failed_pass_leaves_the_weights_as_they_were() -> None:
    it = search("darts-second-order")
    it.weight_step(batch(0))
    before = [w.detach().clone() for w in learner_of(it).weights]
    with pytest.raises(IndexError):
        it.arch_step((batch(1)[0], torch.full((6,), 99)))
    assert all(torch.equal(w, v) for w, v in zip(learner_of(it).weights, before, strict=True))


def test_a_checkpoint_holds_the_training_batch_and_not_what_it_is_a_view_of() -> None:
    it = search("darts-second-order")
    whole = torch.randn(1000, 1, 5, 5)
    it.weight_step((whole[:6], batch(0)[1]))
    saved = it.state_dict()["training_batch"]
    assert torch.equal(saved[0], whole[:6])
    assert saved[0].untyped_storage().nbytes() == 6 * 25 * 8


def test_both_steps_run_the_mixture_of_softmax() -> None:
    it = search("darts")
    for act in (it.arch_step, it.weight_step):
        weights = {n: a.detach().softmax(dim=1) for n, a in supernet_of(it).alphas.items()}
        act(batch(0))
        rows = [row for table in weights.values() for row in table]
        for row, choices in zip(rows, supernet_of(it).choices(), strict=True):
            for choice in choices:
                assert isinstance(choice.run, Mixture)
                torch.testing.assert_close(choice.run.weights.detach(), row)


@pytest.mark.parametrize("name", ["darts", "darts-second-order"])
def test_alphas_start_small_and_are_the_seeds(name: str) -> None:
    alphas = []
    for seed in (3, 3, 4):
        it = search(name)
        supernet = supernet_of(it)
        make_strategy(name, Problem(supernet, learner_of(it), HORIZON, seed, no_penalty), {})
        alphas.append(torch.cat([a.detach().flatten() for a in supernet.alphas.values()]))
    assert torch.equal(alphas[0], alphas[1])
    assert not torch.equal(alphas[0], alphas[2])
    assert 2e-4 < float(alphas[0].std()) < 3e-3


def with_alphas(cell: list[list[float]], alone: list[float]) -> DARTS:
    it = search("darts")
    with torch.no_grad():
        supernet_of(it).alphas["cell"].copy_(torch.tensor(cell))
        supernet_of(it).alphas["alone"].copy_(torch.tensor([alone]))
    return it


def test_none_is_never_derived_and_does_not_decide_between_edges() -> None:
    # The first row's none is strongest of all; its skip has the smaller share, 0.04 to 0.55.
    found = with_alphas([[0.0, 1.0, 4.0], [1.0, 0.0, 0.0]], [0.0, 2.0, 9.0]).derive()
    assert dict(found.edges) == {"cell/0": None, "cell/1": "conv", "alone": "skip"}


def test_edges_are_ranked_by_their_softmax_not_by_their_alphas() -> None:
    # 5.0 among 5.0s is a third; 1.0 among zeros is 0.58.
    found = with_alphas([[5.0, 5.0, 5.0], [1.0, 0.0, 0.0]], [0.0, 0.0, 1.0]).derive()
    assert found["cell/0"] is None
    assert found["cell/1"] == "conv"


def test_an_edge_of_none_alone_keeps_it() -> None:
    net = nn.Sequential(nn.Linear(1, 1), Choice({"none": Zero()}))
    supernet = Supernet(net)
    learner: Any = learner_of(search("darts"))
    it = DARTS(Problem(supernet, learner, HORIZON, 0, no_penalty), DARTSConfig())
    assert it.derive()["1"] == "none"


def test_ties_are_the_seeds_and_the_same_each_time() -> None:
    counts: Counter[str | None] = Counter()
    for seed in range(60):
        it = with_alphas([[0.0] * 3] * 2, [0.0] * 3)
        it.generator.manual_seed(seed)
        assert it.derive() == it.derive()
        counts[it.derive()["alone"]] += 1
    assert set(counts) == {"conv", "skip"}


def test_second_order_refuses_an_optimiser_it_cannot_look_ahead_with() -> None:
    it = search("darts")
    learner_of(it).optimizer = torch.optim.Adam(learner_of(it).weights)
    problem = Problem(supernet_of(it), learner_of(it), HORIZON, 0, no_penalty)
    with pytest.raises(UsageError, match=r"one step of SGD ahead.*Adam"):
        DARTSSecondOrder(problem, DARTSConfig())


@pytest.mark.parametrize("settings", [{"lr": 0}, {"weight_decay": -1}])
def test_values_out_of_range_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(UsageError, match="strategy 'darts'"):
        strategy_config("darts", settings)
