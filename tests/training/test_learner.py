"""Gradients, accumulation, clipping, and what stops a learner."""

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.precision import MixedPrecision
from torch import Tensor, nn
from torch.nn import functional as F

from nasp.errors import NaspError, UsageError
from nasp.training.batches import split_batch
from nasp.training.learner import Learner, gradient_of
from nasp.training.task import Batch


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    """Fabric's 64-bit precision hands out what the network returns in the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


class Regression:
    """Mean square error, and the mean output as a metric."""

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        x, y = batch
        output = network(x)
        return F.mse_loss(output, y), {"mean": output.detach().mean()}


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def batch(size: int = 7) -> tuple[Tensor, Tensor]:
    return torch.randn(size, 3), torch.randn(size, 2)


def sgd(weights: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(weights, lr=0.1, momentum=0.9)


def learner(net: nn.Module, **settings: Any) -> Learner:
    fabric = Fabric(accelerator="cpu", devices=1, precision="64-true")
    task = settings.pop("task", Regression())
    weights = list(net.parameters())
    return Learner(fabric, net, task, weights, settings.pop("optimizer", sgd), **settings)


@pytest.mark.parametrize("parts", [1, 2, 3, 7, 20])
@pytest.mark.parametrize("size", [1, 6, 7])
def test_accumulation_equals_one_batch(parts: int, size: int) -> None:
    net, (x, y) = network(), batch(size)
    weights = list(net.parameters())

    output = net(x)
    loss = F.mse_loss(output, y)
    expected = torch.autograd.grad(loss, weights)
    metrics = learner(net, accumulate=parts).gradients((x, y), weights)
    for weight, gradient in zip(weights, expected, strict=True):
        torch.testing.assert_close(gradient_of(weight), gradient, rtol=0, atol=1e-14)
    assert metrics["loss"] == pytest.approx(float(loss.detach()), abs=1e-14)
    assert metrics["mean"] == pytest.approx(float(output.detach().mean()), abs=1e-14)


@pytest.mark.parametrize("parts", [1, 3])
def test_only_the_inputs_get_gradients_and_they_add_up(parts: int) -> None:
    net, data = network(), batch()
    first = net[0].weight
    assert isinstance(first, nn.Parameter)
    it = learner(net, accumulate=parts)
    it.gradients(data, [first])
    once = gradient_of(first).clone()
    assert once.any()
    assert [name for name, w in net.named_parameters() if w.grad is not None] == ["0.weight"]
    it.gradients(data, [first])
    torch.testing.assert_close(gradient_of(first), 2 * once)


def test_a_leaf_that_the_loss_does_not_reach() -> None:
    leaf = torch.ones(3, requires_grad=True)
    learner(network()).gradients(batch(), [leaf])
    assert gradient_of(leaf).tolist() == [0.0, 0.0, 0.0]


def test_a_loss_without_any_graph_moves_nothing() -> None:
    net = network().requires_grad_(False)
    leaf = torch.ones(1, requires_grad=True)
    metrics = learner(net).gradients(batch(), [leaf])
    assert math.isfinite(metrics["loss"])
    assert leaf.grad is None


@pytest.mark.parametrize("clip", [None, 0.05, 1e6])
def test_the_norm_of_the_gradient_is_clipped_before_the_step(clip: float | None) -> None:
    net, (x, y) = network(), batch()
    before = [w.detach().clone() for w in net.parameters()]
    gradients = torch.autograd.grad(F.mse_loss(net(x), y), list(net.parameters()))
    norm = math.sqrt(sum(float(g.square().sum()) for g in gradients))
    factor = 1.0 if clip is None else min(1.0, clip / norm)
    assert (factor < 1) == (clip == 0.05)
    learner(net, clip=clip).weight_step((x, y))
    for w, old, gradient in zip(net.parameters(), before, gradients, strict=True):
        torch.testing.assert_close(
            w.detach(), old - 0.1 * factor * gradient, rtol=0, atol=1e-6 * (factor < 1) + 1e-14
        )


def test_weight_steps_forget_the_gradients_before() -> None:
    net, data = network(), batch()
    it = learner(net)
    it.gradients(data, it.weights)
    fresh = network()
    fresh.load_state_dict(net.state_dict())
    it.weight_step(data)
    learner(fresh).weight_step(data)
    for one, other in zip(net.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(one, other)


def test_state_roundtrip_goes_on_to_the_same_bits() -> None:
    net, data = network(), [batch() for _ in range(4)]
    it = learner(net)
    it.weight_step(data[0])
    it.weight_step(data[1])
    other = network()
    other.load_state_dict(net.state_dict())
    resumed = learner(other)
    resumed.load_state_dict(copy.deepcopy(it.state_dict()))
    for step in data[2:]:
        assert it.weight_step(step) == resumed.weight_step(step)
    for one, two in zip(net.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_loss_that_is_not_finite_stops_before_the_step(value: float, parts: int) -> None:
    net, (x, y) = network(), batch()
    before = [w.detach().clone() for w in net.parameters()]
    y[-1, 0] = value
    with pytest.raises(NaspError, match=f"The loss became {value}: lower the learning rate"):
        learner(net, accumulate=parts).weight_step((x, y))
    assert all(torch.equal(w, old) for w, old in zip(net.parameters(), before, strict=True))


def test_a_gradient_that_is_not_finite_stops_before_the_step() -> None:
    class Root:
        def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
            return (0 * network(batch[0])).abs().sum().sqrt(), {}

    net = network()
    before = [w.detach().clone() for w in net.parameters()]
    with pytest.raises(NaspError, match="gradient"):
        learner(net, task=Root()).weight_step(batch())
    assert all(torch.equal(w, old) for w, old in zip(net.parameters(), before, strict=True))


@pytest.mark.parametrize(
    ("bad", "seen"),
    [
        ((torch.ones(3), torch.ones(4)), r"\[3, 4\]"),
        ((torch.ones(0, 2), torch.ones(0)), r"\[0\]"),
        ({"x": torch.ones(2), "y": [torch.ones(2), torch.ones(5)]}, r"\[2, 5\]"),
        ((torch.tensor(1.0),), "none"),
        ("text", "none"),
        (None, "none"),
    ],
)
def test_batches_that_cannot_be_split(bad: Batch, seen: str) -> None:
    with pytest.raises(UsageError, match=rf"must agree in dimension 0 .* lengths are {seen}\."):
        split_batch(bad, 2)
    if seen != r"\[0\]":
        assert split_batch(bad, 1) == [(bad, 1.0, 1.0)]


def test_an_empty_batch_is_refused() -> None:
    with pytest.raises(UsageError, match=r"at least one example, but their lengths are \[0\]"):
        split_batch((torch.ones(0, 2), torch.ones(0)), 1)


def test_a_task_may_know_what_to_do_with_tensors_of_several_lengths() -> None:
    class Detect:
        def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
            rows, targets = batch
            output = torch.stack([network(row).mean() for row in rows])
            return (output - torch.stack([t["boxes"].mean() for t in targets])).abs().mean(), {}

    make = torch.Generator().manual_seed(0)
    rows = [torch.randn(n, 3, generator=make, dtype=torch.float64) for n in (2, 5)]
    targets = [{"boxes": torch.ones(n, dtype=torch.float64)} for n in (1, 4)]
    net = network()
    before = [w.detach().clone() for w in net.parameters()]
    assert math.isfinite(learner(net, task=Detect()).weight_step((rows, targets))["loss"])
    assert not all(torch.equal(w, old) for w, old in zip(net.parameters(), before, strict=True))
    with pytest.raises(UsageError, match="must agree in dimension 0"):
        learner(net, task=Detect(), accumulate=2).weight_step((rows, targets))


@pytest.mark.parametrize("make", [list, tuple, lambda leaves: dict(enumerate(leaves))])
def test_a_batch_keeps_its_form_and_loses_no_example(make: Callable[[Any], Any]) -> None:
    x, y = torch.arange(10), torch.arange(20).reshape(10, 2)
    split = split_batch(make([x, y, torch.tensor(3), "name", None]), 3)
    assert sum(part.share for part in split) == pytest.approx(1)
    parts = [list(p.values()) if isinstance(p, dict) else p for p, *_ in split]
    assert all(type(p) is type(make([])) for p, *_ in split)
    assert torch.equal(torch.cat([part[0] for part in parts]), x)
    assert torch.equal(torch.cat([part[1] for part in parts]), y)
    assert all(list(part[2:]) == [torch.tensor(3), "name", None] for part in parts)
    assert [part.share for part in split] == [len(part[0]) / 10 for part in parts]


@pytest.mark.parametrize("parts", [1, 2])
def test_mixed_precision_moves_by_gradients_near_the_exact_ones(parts: int) -> None:
    torch.set_default_dtype(torch.float32)
    exact, mixed = network(), network()
    mixed.load_state_dict(exact.state_dict())
    given = batch(8)
    for net, precision in ((exact, "32-true"), (mixed, "bf16-mixed")):
        fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
        moving = Learner(fabric, net, Regression(), list(net.parameters()), sgd, accumulate=parts)
        assert math.isfinite(moving.weight_step(given)["loss"])
    for one, other in zip(exact.parameters(), mixed.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=0.05, atol=0.01)


def test_a_loss_scale_is_taken_out_and_an_overflow_lowers_it() -> None:
    torch.set_default_dtype(torch.float32)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    precision = MixedPrecision("16-mixed", "cpu", scaler)
    fabric = Fabric(accelerator="cpu", devices=1, plugins=precision)
    net, (x, y) = network(), batch()
    weights = list(net.parameters())
    it = Learner(fabric, net, Regression(), weights, sgd)
    leaf = weights[0]
    it.gradients((x, y), [leaf])
    expected = torch.autograd.grad(F.mse_loss(net(x), y), leaf)[0]
    found = it.unscaled({"t": gradient_of(leaf)})
    assert found is not None
    torch.testing.assert_close(found["t"], expected, rtol=0.02, atol=0.02)
    assert gradient_of(leaf).abs().max() > 100 * expected.abs().max()
    assert it.unscaled({"t": torch.tensor([math.inf])}) is None
    assert scaler.get_scale() == 512
    plain = learner(network())
    assert plain.unscaled({"t": torch.tensor([math.inf])}) is not None
