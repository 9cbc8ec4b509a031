"""Discrete steps that go downhill only."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nasp.complexity import Penalty
from nasp.runs.random_state import random_states
from nasp.strategies.descent import REST, Descent
from nasp.strategies.strategy import Horizon, Problem
from nasp.supernet.choice import Choice, Node
from nasp.supernet.path import Path
from nasp.supernet.supernet import Supernet


class Shift(nn.Module):
    """Adds a number: the loss of a path is then known."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return x + self.by


class Table:
    """Measures the sum of a path's shifts."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def loss(self, batch: Tensor) -> float:
        return float(self.network(batch))


def pair(share: str) -> Choice:
    return Choice({"0": Shift(0.0), "1": Shift(1.0), "-1": Shift(-1.0)}, share=share)


def free(a: Any) -> Tensor:
    return torch.zeros(())


def setting(penalty: Penalty = free) -> tuple[Supernet, Descent]:
    supernet = Supernet(nn.Sequential(pair("t/0"), pair("t/1")))
    learner: Any = Table(supernet)
    return supernet, Descent(Problem(supernet, learner, Horizon(1, 1), 0, penalty), lr=0.01)


def step(supernet: Supernet, it: Descent, path: Path, proposal: Path) -> Path:
    supernet.single(path)
    batch = torch.zeros(())
    return it.step(path, proposal, batch, float(supernet(batch)), random_states())


def test_downhill_is_taken_and_uphill_is_not() -> None:
    supernet, it = setting()
    assert step(supernet, it, (0, 0), (2, 0)) == (2, 0)
    assert step(supernet, it, (0, 0), (1, 0)) == (0, 0)
    assert step(supernet, it, (0, 0), (0, 0)) == (0, 0)


def test_level_ground_is_no_step() -> None:
    supernet, it = setting()
    supernet.network[1].candidates["1"].by = 0.0  # type: ignore[index, union-attr]
    assert step(supernet, it, (0, 0), (0, 1)) == (0, 0)


def test_the_penalty_counts() -> None:
    supernet, it = setting(lambda alphas: 2.0 * alphas["t"][0, 2])
    assert step(supernet, it, (0, 0), (2, 0)) == (0, 0)


def test_a_refused_change_falls_back_and_stays_in_c2() -> None:
    supernet, it = setting()
    a = supernet.alphas["t"]
    with torch.no_grad():
        a.copy_(torch.tensor([[0.98, 1.0, 0.3], [0.5, 0.5, 0.5]]))
    step(supernet, it, (0, 0), (1, 0))
    back = REST * 0.01
    expected = torch.tensor([[1.0, 1.0 - back, 0.3], [0.5, 0.5, 0.5]])
    torch.testing.assert_close(a.detach(), expected)


def test_the_edge_that_gains_most_changes_and_the_other_waits() -> None:
    supernet, it = setting()
    with torch.no_grad():
        supernet.alphas["t"].copy_(torch.tensor([[0.1, 0.0, 0.5], [0.1, 0.0, 0.7]]))
    assert step(supernet, it, (0, 0), (2, 2)) == (0, 2)


@pytest.mark.parametrize("keep", [1, 2])
def test_the_edges_of_a_node_change_together(keep: int) -> None:
    edges = [pair(f"t/{k}") for k in range(3)]
    supernet = Supernet(nn.ModuleList([Node(edges, keep), pair("t/3")]))
    learner: Any = None
    it = Descent(Problem(supernet, learner, Horizon(1, 1), 0, free), lr=0.01)
    path = (0, 0 if keep == 2 else None, None, 0)
    proposal = (None, 0 if keep == 2 else None, 1, 1)
    with torch.no_grad():
        strengths = [[0.1, 0, 0], [0.2, 0, 0], [0, 0.5, 0], [0, 0.2, 0]]
        supernet.alphas["t"].copy_(torch.tensor(strengths))
    assert it.foremost_change(path, proposal) == (*proposal[:3], *path[3:])
    assert it.foremost_change(path, path) is None


@pytest.mark.parametrize(("to", "is_taken"), [(2, True), (1, False)])
def test_a_change_is_measured_with_the_random_state_of_the_path(to: int, is_taken: bool) -> None:
    class Noisy(Table):
        def loss(self, batch: Tensor) -> float:
            return super().loss(batch) + 100 * float(torch.randn(()))

    supernet, _ = setting()
    learner: Any = Noisy(supernet)
    it = Descent(Problem(supernet, learner, Horizon(1, 1), 0, free), lr=0.01)
    path, proposal = (0, 0), (to, 0)
    for _ in range(5):
        supernet.single(path)
        drawn = random_states()
        loss = learner.loss(torch.zeros(()))
        before = torch.get_rng_state()
        taken = it.step(path, proposal, torch.zeros(()), loss, drawn)
        assert taken == (proposal if is_taken else path)
        assert torch.equal(torch.get_rng_state(), before)
