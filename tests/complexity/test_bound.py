"""The augmented Lagrangian of a bound: its gradient in closed form, its multiplier."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nasp.complexity import parameter_table
from nasp.complexity.bound import STIFFNESS, Bound, Reached
from nasp.complexity.quantity import find_quantity
from nasp.complexity.store import Store
from nasp.complexity.target import Gauge, Target
from nasp.supernet.architecture import Architecture
from nasp.supernet.derive import derive
from nasp.supernet.path import Path
from nasp.supernet.supernet import Supernet


def bound(supernet: Supernet, limit: float, steps: int = 10, within: float | None = None) -> Bound:
    target = Target("itself", supernet, lambda: None, lambda a: derive(supernet, a))
    gauge = Gauge(find_quantity("params"), target, Store(None))
    return Bound(gauge, limit, parameter_table(supernet), steps, within)


def drawn(supernet: Supernet) -> Path:
    return supernet.random_path(torch.Generator().manual_seed(1))


@pytest.mark.parametrize("within", [None, 0.05])
@pytest.mark.parametrize("multiplier", [0.0, 0.7, -0.7])
@pytest.mark.parametrize("share", [0.5, 2.0, 1.25])
def test_the_gradient_in_closed_form(
    supernet: Supernet, multiplier: float, share: float, within: float | None
) -> None:
    path = drawn(supernet)
    discrete = {n: a.double().requires_grad_() for n, a in supernet.one_hot(path).items()}
    paid = bound(supernet, 1.0).table.of(path)
    it = bound(supernet, share * paid, within=within)
    it.multiplier = multiplier
    term = it(discrete)
    violation = 1 / share - 1
    pressure = multiplier + STIFFNESS * violation
    if within is None:
        pressure = max(0.0, pressure)
    expected = (pressure**2 - multiplier**2) / (2 * STIFFNESS)
    assert float(term.detach()) == pytest.approx(expected, abs=1e-6)
    term.backward()
    gradient = discrete["cell"].grad
    assert gradient is not None
    costs = torch.tensor(it.table.own[0], dtype=torch.float64)
    for row in gradient:  # of all candidates, chosen or not
        torch.testing.assert_close(row, pressure * costs / it.limit)
    names = list(discrete)

    def value(*alphas: Tensor) -> Tensor:
        return it(dict(zip(names, alphas, strict=True)))

    assert torch.autograd.gradcheck(value, [discrete[name] for name in names])


def test_the_multiplier_grows_while_too_much_is_paid_and_falls_to_zero(supernet: Supernet) -> None:
    path = drawn(supernet)
    paid = bound(supernet, 1.0).table.of(path)
    it = bound(supernet, paid / 1.5, steps=10)
    for _ in range(10):  # an epoch
        it.step(path)
    assert it.multiplier == pytest.approx(0.5)
    it.limit = 2 * paid
    it.step(path)
    assert it.multiplier == pytest.approx(0.45)
    for _ in range(100):
        it.step(path)
    assert it.multiplier == 0.0


def test_a_targets_multiplier_pushes_from_both_sides(supernet: Supernet) -> None:
    path = drawn(supernet)
    paid = bound(supernet, 1.0).table.of(path)
    for share, expected in ((1.5, 0.5), (0.5, -0.5)):  # too dear, too cheap: an epoch of it
        it = bound(supernet, paid / share, steps=10, within=0.05)
        for _ in range(10):
            it.step(path)
        assert it.multiplier == pytest.approx(expected)
        raised = {n: a.requires_grad_() for n, a in supernet.one_hot(path).items()}
        it(raised).backward()
        gradient = raised["cell"].grad
        assert gradient is not None
        dear = torch.tensor(it.table.own[0]) > 0
        assert ((gradient[:, dear] > 0) == (share > 1)).all()
        assert not gradient[:, ~dear].any()


def test_a_target_is_met_within_its_tolerance(supernet: Supernet) -> None:
    architecture = supernet.architecture(drawn(supernet))
    paid = sum(p.numel() for p in derive(supernet, architecture).parameters())
    for share, met in ((1.04, True), (0.96, True), (1.06, False), (0.94, False)):
        reached = bound(supernet, paid * share, within=0.05).reached(architecture)
        assert reached.is_met == met
        assert (reached.miss == 0) == met
        assert Reached.from_dict(reached.as_dict()) == reached


def test_what_is_reached_is_measured_on_the_network(supernet: Supernet) -> None:
    architecture = supernet.architecture(drawn(supernet))
    paid = sum(p.numel() for p in derive(supernet, architecture).parameters())
    reached = bound(supernet, paid).reached(architecture)
    assert reached == Reached("parameters", paid, paid, 0.0, "itself")
    assert reached.is_met
    assert not bound(supernet, paid - 1).reached(architecture).is_met
    assert Reached.from_dict(reached.as_dict()) == reached


@pytest.mark.parametrize(
    ("reached", "sentence"),
    [
        (Reached("parameters", 3.3e6, 3.21e6, 0, "N"), "parameters 3.21M, at most 3.3M: met (N)"),
        (
            Reached("latency", 5e-3, 6.1e-3, 2e-4, "N"),
            "latency 6.1 ms ± 200 us, at most 5 ms: NOT met (N)",
        ),
        (
            Reached("parameters", 4.2e5, 4.1e5, 0, "N", 4e5, 0.05),
            "parameters 410K, target 400K within 5 %: met (N)",
        ),
        (
            Reached("latency", 5.15e-3, 4.8e-3, 2e-4, "N", 5e-3, 0.03),
            "latency 4.8 ms ± 200 us, target 5 ms within 3 %: NOT met (N)",
        ),
        (Reached("own", 2.0, 1.5, 0, "N"), "own cost 1.5, at most 2: met (N)"),
    ],
)
def test_what_is_said(reached: Reached, sentence: str) -> None:
    assert reached.sentence() == sentence


def test_a_table_is_measured_once(supernet: Supernet, architectures: list[Architecture]) -> None:
    measured = []

    def own(operation: torch.nn.Module, *_: Tensor) -> float:
        measured.append(operation)
        return float(len(measured))

    x = torch.randn(1, 1, 8, 8)
    target = Target("itself", supernet, lambda: supernet(x), lambda a: derive(supernet, a))
    store = Store(None)
    gauge = Gauge(find_quantity("own", own), target, store)
    table = gauge.table("own")
    first = gauge.of(architectures[0])
    count = len(measured)
    again = Gauge(find_quantity("own", own), target, store)
    assert again.table("own") == table
    assert again.of(architectures[0]) == first
    assert len(measured) == count
    assert again.of(architectures[1]) != first
