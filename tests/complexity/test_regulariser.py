"""p_k counted by hand, R(A) and its gradient in closed form."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nasp.complexity import Regulariser, parameter_counts
from nasp.complexity.regulariser import Normalise
from nasp.supernet.choice import Choice
from nasp.supernet.supernet import Supernet
from nasp.supernet.zero import Zero


def edge(channels: int, share: str | None = None) -> Choice:
    return Choice(
        {
            "conv": nn.Conv2d(channels, channels, 3),
            "block": nn.Sequential(nn.Conv2d(channels, 2, 1, bias=False), nn.BatchNorm2d(2)),
            "skip": nn.Identity(),
        },
        share,
    )


def test_parameter_counts_by_hand() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1),
        edge(4, "normal/0"),
        edge(4, "normal/1"),
        edge(5, "normal/0"),
        Choice({"outer": nn.Sequential(nn.Linear(2, 3), Choice({"inner": nn.Linear(3, 1)}))}),
    )
    counts = parameter_counts(Supernet(net))
    four, five = [4 * 4 * 9 + 4, 4 * 2 + 4, 0], [5 * 5 * 9 + 5, 5 * 2 + 4, 0]
    both = [a + b for a, b in zip(four, five, strict=True)]
    assert counts["normal"].tolist() == [both, four]
    assert counts["4"].tolist() == [[(2 * 3 + 3) + (3 + 1)]]
    assert counts["4.candidates.outer.1"].tolist() == [[3 + 1]]


def test_frozen_parameters_count_and_alphas_get_no_graph() -> None:
    net = Choice({"frozen": nn.Linear(2, 2).requires_grad_(False), "other": nn.Linear(2, 1)})
    counts = parameter_counts(Supernet(net).double())["network"]
    assert counts.tolist() == [[6, 3]]
    assert counts.dtype == torch.float64
    assert not counts.requires_grad


costs = st.lists(
    st.lists(st.integers(0, 50), min_size=3, max_size=3).filter(any), min_size=1, max_size=4
)


@given(costs, costs)
def test_value_and_gradient_in_closed_form(one: list[list[int]], two: list[list[int]]) -> None:
    p = {name: torch.tensor(rows).double() for name, rows in (("one", one), ("two", two))}
    a = {n: torch.randn_like(cost).requires_grad_() for n, cost in p.items()}
    value = Regulariser(p)(a)
    value.backward()
    expected = 0.0
    for name in p:
        for i, row in enumerate(p[name].tolist()):
            for k, cost in enumerate(row):
                entry = float(a[name][i, k].detach())
                expected += cost / sum(row) * entry**2
                gradient = a[name].grad
                assert gradient is not None
                closed_form = 2 * cost / sum(row) * entry
                assert float(gradient[i, k]) == pytest.approx(closed_form, abs=1e-14)
    assert float(value.detach()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("normalise", ["edge", "network"])
def test_the_gradient_against_finite_differences_and_at_the_discrete_point(
    normalise: Normalise,
) -> None:
    p = {
        "one": torch.tensor([[30.0, 10.0, 0.0], [5.0, 0.0, 7.0]]).double(),
        "two": torch.ones(1, 2).double(),
    }
    penalty = Regulariser(p, 0.7, normalise)
    a = {name: torch.rand_like(cost).requires_grad_() for name, cost in p.items()}

    def value(one: torch.Tensor, two: torch.Tensor) -> torch.Tensor:
        return penalty({"one": one, "two": two})

    assert torch.autograd.gradcheck(value, list(a.values()))
    discrete = {
        "one": torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]).double().requires_grad_(),
        "two": torch.tensor([[0.0, 1.0]]).double().requires_grad_(),
    }
    penalty(discrete).backward()
    # p̄ is 40, 12 and 2 by edge, 18 over the network.
    by_edge = [[[0.75, 0, 0], [0, 0, 7 / 12]], [[0, 0.5]]]
    over_network = [[[30 / 18, 0, 0], [0, 0, 7 / 18]], [[0, 1 / 18]]]
    expected = by_edge if normalise == "edge" else over_network
    for leaf, shares in zip(discrete.values(), expected, strict=True):
        assert leaf.grad is not None
        torch.testing.assert_close(leaf.grad, 2 * 0.7 * torch.tensor(shares).double())


def test_both_normalisations_weigh_all_candidates_of_all_edges_alike() -> None:
    costs = {"a": torch.tensor([[3.0, 1.0]]), "b": torch.tensor([[0.0, 9.0], [2.0, 2.0]])}
    everything = {name: torch.ones_like(cost) for name, cost in costs.items()}
    assert float(Regulariser(costs)(everything)) == pytest.approx(3)
    assert float(Regulariser(costs, normalise="network")(everything)) == pytest.approx(3)


def test_an_edge_without_any_cost_adds_nothing() -> None:
    supernet = Supernet(nn.Sequential(Choice({"skip": nn.Identity(), "none": Zero()}), edge(2)))
    a = {name: alpha.detach().clone().requires_grad_() for name, alpha in supernet.alphas.items()}
    value = Regulariser(parameter_counts(supernet))(a)
    assert float(value.detach()) == pytest.approx(0.25)
    value.backward()
    assert a["0"].grad is not None
    assert a["0"].grad.tolist() == [[0.0, 0.0]]


def test_one_at_the_dearest_candidate_and_its_share_elsewhere() -> None:
    r = Regulariser({"t": torch.tensor([[30.0, 10.0, 0.0]])})
    values = [float(r({"t": row[None]})) for row in torch.eye(3)]
    assert values == pytest.approx([0.75, 0.25, 0.0])
