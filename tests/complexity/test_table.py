"""The table of costs against the derived networks themselves."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nasp.complexity import (
    CostTable,
    cost_table,
    parameter_count,
    parameter_counts,
    parameter_table,
)
from nasp.complexity.calls import record_calls
from nasp.complexity.costs import flops, memory
from nasp.complexity.repair import cheapest, nearest_within
from nasp.errors import NaspError
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice, Node, Probed
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet

X = torch.randn(1, 1, 8, 8)


def flops_table(supernet: Supernet) -> CostTable:
    return cost_table(supernet, flops, record_calls(supernet, lambda: supernet(X)))


def test_parameters_of_every_architecture(
    supernet: Supernet, architectures: list[Architecture]
) -> None:
    table = parameter_table(supernet)
    seen = {table.of(supernet.path(each)) for each in architectures}
    for architecture in architectures:
        assert table.of(supernet.path(architecture)) == parameter_count(
            derive(supernet, architecture)
        )
    assert len(seen) > 10


def test_parameters_inside_a_candidate() -> None:
    inner = Choice({"small": nn.Linear(2, 1), "large": nn.Linear(2, 8)})
    operation = nn.Sequential(nn.Linear(3, 2), inner)
    assert parameter_count(operation) == 8 + 3 + 24
    table = parameter_table(Supernet(operation))
    assert (table.own, table.fixed) == (((3.0, 24.0),), 8.0)
    whole = parameter_table(Supernet(Choice({"op": operation, "skip": nn.Identity()})))
    assert whole.own == ((8.0, 0.0), (3.0, 24.0))
    assert [whole.of(path) for path in ((0, 0), (0, 1), (1, 1))] == [11, 32, 0]


def tied() -> nn.Module:
    """One block at four places that choose alike, and a weight that is also the head's."""
    big, small = nn.Linear(10, 10), nn.Sequential(nn.Linear(10, 2), nn.Linear(2, 10))
    blocks = [Choice({"big": big, "small": small}, share="layer/0") for _ in range(4)]
    last = Choice({"again": nn.Linear(10, 10), "skip": nn.Identity()})
    head = nn.Linear(10, 10)
    last.operations[0].weight = head.weight
    return nn.Sequential(*blocks, last, head)


def prefixed() -> nn.Module:
    """Two edges, of whose candidates some begin with the same layers."""
    first, second = nn.Linear(6, 6), nn.Linear(6, 6, bias=False)

    def edge() -> Choice:
        candidates = {
            "one": nn.Sequential(first, nn.Linear(6, 6)),
            "two": nn.Sequential(first, second, nn.Tanh()),
            "three": nn.Sequential(second, nn.Linear(6, 6)),
            "skip": nn.Identity(),
        }
        return Choice(candidates)

    return nn.Sequential(edge(), Node([edge(), edge()], keep=1))


def nested() -> nn.Module:
    """Blocks with a choice of their own, some of whose parameters stand in another's, too."""
    shared = nn.Linear(4, 4)

    def block() -> nn.Module:
        return nn.Sequential(shared, Choice({"own": nn.Linear(4, 4), "tied": shared}))

    return nn.Sequential(*(Choice({"block": block(), "skip": nn.Identity()}) for _ in range(2)))


@pytest.mark.parametrize("make", [tied, prefixed, nested])
def test_a_parameter_at_several_places_is_one(make: Callable[[], nn.Module]) -> None:
    supernet = Supernet(make())
    table = parameter_table(supernet)
    generator = torch.Generator().manual_seed(0)
    paths = {supernet.random_path(generator) for _ in range(200)}
    for path in paths:
        built = parameter_count(derive(supernet, supernet.architecture(path)))
        assert table.of(path) == built
        assert float(table.network(supernet.one_hot(path))) == pytest.approx(built)
    figures = json.loads(json.dumps(table.as_dict()))
    assert CostTable.from_dict(supernet, figures) == table
    costs = sorted({table.of(path) for path in paths})
    assert table.of(cheapest(supernet, table)) == costs[0]
    for limit in costs:
        nearest = nearest_within(supernet, supernet.alphas, [table, table], [limit, 1e9])
        assert nearest is not None
        assert table.of(nearest) <= limit
        assert table.of(nearest_within(supernet, supernet.alphas, [table], [limit])) <= limit
    assert nearest_within(supernet, supernet.alphas, [table], [costs[0] - 1]) is None


def test_what_edges_have_in_common_is_shared_out_among_them() -> None:
    counts = parameter_counts(Supernet(prefixed()))
    pieces = [42 / 3 + 42, (42 + 36) / 3, 36 / 3 + 42, 0]
    assert all(row == pytest.approx(pieces) for t in counts.values() for row in t.tolist())
    assert parameter_counts(Supernet(tied()))["layer"].tolist() == [[110, 52]]


def test_flops_of_every_architecture(supernet: Supernet, architectures: list[Architecture]) -> None:
    table = flops_table(supernet)
    for architecture in architectures[::6]:
        assert table.of(supernet.path(architecture)) == flops(derive(supernet, architecture), X)


def test_a_mixture_costs_what_it_is_expected_to(
    supernet: Supernet, architectures: list[Architecture]
) -> None:
    table = flops_table(supernet)
    for architecture in architectures[::6]:
        path = supernet.path(architecture)
        cost = float(table.network(supernet.one_hot(path)))
        assert cost == pytest.approx(table.of(path), rel=1e-6)
    # Random paths in the proportions of the weights cost their mean.
    generator = torch.Generator().manual_seed(0)
    table = parameter_table(supernet)
    weights = {n: torch.rand(a.shape, dtype=torch.float64) for n, a in supernet.alphas.items()}
    weights = {n: w / w.sum(dim=1, keepdim=True) for n, w in weights.items()}
    costs = []
    for _ in range(1500):
        point = {
            n: torch.nn.functional.one_hot(
                torch.multinomial(w, 1, generator=generator).squeeze(1), w.shape[1]
            ).double()
            for n, w in weights.items()
        }
        costs.append(float(table.network(point)))
    drawn = torch.tensor(costs)
    error = float(drawn.std()) / 1500**0.5
    assert float(table.network(weights)) == pytest.approx(float(drawn.mean()), abs=4 * error)


def test_the_gradient_of_a_networks_cost(supernet: Supernet) -> None:
    table = parameter_table(supernet)
    alphas = {
        n: torch.rand(a.shape, dtype=torch.float64).requires_grad_()
        for n, a in supernet.alphas.items()
    }
    names = list(alphas)

    def cost(*values: Tensor) -> Tensor:
        return table.network(dict(zip(names, values, strict=True)))

    assert torch.autograd.gradcheck(cost, list(alphas.values()))
    table.network(alphas).backward()
    cell = alphas["cell"].grad
    assert cell is not None
    two_cells = [
        2.0 * parameter_count(op) for op in supernet.network.cells[0].node.edges[0].operations
    ]
    assert cell.tolist() == [two_cells] * 3
    outer, inner = alphas["gate"], alphas["gate.candidates.gate.before"]
    assert inner.grad is not None
    small = supernet.network.gate.candidates.gate.before.operations
    expected = [float(outer[0, 0].detach()) * parameter_count(op) for op in small]
    assert inner.grad[0].tolist() == pytest.approx(expected)


def test_a_choice_inside_a_candidate_counts_with_its_mean(supernet: Supernet) -> None:
    counts = parameter_counts(supernet)
    one, three, five = ((k * k * 16 + 4) + 8 for k in (1, 3, 5))
    gate = 4 + (one + three) / 2 + one / 2
    assert counts["gate"].tolist() == [[gate, five, 0]]
    assert counts["gate.candidates.gate.before"].tolist() == [[one, three]]
    assert counts["cell"].tolist() == [[2 * three, 2 * one, 0, 0]] * 3
    # Used twice in a pass: FLOPs count twice, parameters once.
    flops_of = flops_table(supernet).candidates()
    convolution = 2 * 16 * 16
    assert flops_of["gate.candidates.gate.after"].tolist() == [[0, 2 * convolution]]
    assert flops_of["gate"].tolist() == [[convolution * (5 + 1), 25 * convolution, 0]]


def test_any_function_of_operation_and_inputs(supernet: Supernet) -> None:
    def pixels(operation: nn.Module, x: Tensor) -> float:
        return float(x[0, 0].numel()) if isinstance(operation, nn.Sequential) else 0.0

    table = cost_table(supernet, pixels, record_calls(supernet, lambda: supernet(X)))
    assert table.candidates()["cell"].tolist() == [[64.0 + 16.0, 80.0, 0.0, 0.0]] * 3
    assert table.candidates()["gate"][0, 1] == 16.0


class Siamese(nn.Module):
    """Two inputs and a named one, and a choice that meets two shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Choice({"linear": nn.Linear(3, 3), "skip": nn.Identity()})
        self.merge = Choice({"sum": Merge(1), "twice": Merge(2)})

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.merge(self.first(x).sum(dim=1), other=self.first(y).sum(dim=1)).sum(dim=1)


class Merge(nn.Module):
    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*(nn.Linear(3, 3) for _ in range(layers)))

    def forward(self, x: Tensor, *, other: Tensor) -> Tensor:
        return self.layers(x) + other


def test_several_inputs_named_inputs_and_several_shapes() -> None:
    supernet = Supernet(Siamese())
    x, y = torch.randn(1, 5, 3), torch.randn(1, 7, 3)
    calls = record_calls(supernet, lambda: supernet(x, y))
    counts = sorted(call.count for call in calls[supernet.network.first])
    assert counts == [1, 1]
    table = cost_table(supernet, flops, calls).candidates()
    assert table["first"].tolist() == [[2 * 9 * (5 + 7), 0]]
    assert table["merge"].tolist() == [[2 * 9, 2 * 2 * 9]]


def test_memory_adds_up_where_edges_follow_one_another() -> None:
    def block(kernel: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(2, 2, kernel, padding=kernel // 2), nn.Tanh())

    choices = [Choice({"a": block(1), "b": nn.Sequential(block(1), block(3))}) for _ in range(3)]
    supernet = Supernet(nn.Sequential(*choices))
    x = torch.randn(1, 2, 4, 4)
    table = cost_table(supernet, memory, record_calls(supernet, lambda: supernet(x)))
    for names in (("a", "a", "a"), ("a", "b", "a"), ("b", "b", "b")):
        architecture = Architecture({str(i): name for i, name in enumerate(names)})
        assert table.of(supernet.path(architecture)) == memory(derive(supernet, architecture), x)


def test_measuring_leaves_the_supernet_as_it_was(supernet: Supernet) -> None:
    supernet.train()
    supernet.network.cells[0].eval()
    probed = supernet.probe(supernet.random_path())
    runs = [choice.run for choices in supernet.choices() for choice in choices]
    before = {n: t.clone() for n, t in supernet.state_dict().items()}
    modes = [module.training for module in supernet.modules()]
    state = torch.get_rng_state()
    flops_table(supernet)
    after = [choice.run for choices in supernet.choices() for choice in choices]
    assert all(one is other for one, other in zip(runs, after, strict=True))
    assert all(isinstance(run, Probed) for run in after)
    assert [module.training for module in supernet.modules()] == modes
    assert all(torch.equal(t, before[n]) for n, t in supernet.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(leaf.grad is None for leaf in probed.anchors)
    assert not any(module._forward_pre_hooks for module in supernet.modules())


def test_a_network_that_cannot_take_one_example(supernet: Supernet) -> None:
    with pytest.raises(NaspError, match=r"cannot be measured on a single example: .*size"):
        record_calls(supernet, lambda: supernet(torch.randn(1, 3, 8, 8)))
    with pytest.raises(NaspError, match="did not call the network"):
        record_calls(supernet, lambda: None)


def test_figures_as_plain_values(supernet: Supernet) -> None:
    table = flops_table(supernet)
    figures = table.as_dict()
    assert set(figures["edges"]) == set(supernet.edges)
    assert set(figures["edges"]["gate"]) == {"gate", "five", "skip"}
    assert figures["inside"]["gate.candidates.gate.after"] == {"edge": "gate", "candidate": "gate"}
    assert CostTable.from_dict(supernet, json.loads(json.dumps(figures))) == table
    with pytest.raises(NaspError, match="not of this network"):
        CostTable.from_dict(Supernet(Siamese()), figures)
