"""How one edge is run."""

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nasp.errors import UsageError
from nasp.supernet.choice import Choice, Mixture, Node, Probed, Single
from nasp.supernet.probe.taps import Probe
from nasp.supernet.zero import Zero


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def times(*factors: float, share: str | None = None) -> Choice:
    return Choice({f"times {f:g}": Times(f) for f in factors}, share)


def test_no_candidates() -> None:
    with pytest.raises(UsageError, match="A Choice needs at least one candidate operation"):
        Choice({})


@pytest.mark.parametrize("name", ["conv.3", "", 3, "keys"])
def test_names_that_cannot_be_a_submodules(name: Any) -> None:
    with pytest.raises(UsageError, match="A Choice maps names to modules, and cannot take these"):
        Choice({"skip": nn.Identity(), name: nn.Identity()})


def test_candidates_that_are_no_modules() -> None:
    with pytest.raises(UsageError, match=r"cannot take these candidates: .*is not a Module"):
        Choice({"relu": torch.relu})  # type: ignore[dict-item]


def test_names_and_operations_keep_their_order() -> None:
    choice = times(3, 1, 2)
    assert choice.names == ("times 3", "times 1", "times 2")
    assert [o.factor for o in choice.operations] == [3, 1, 2]
    assert repr(times(1, share="normal/0")).startswith("Choice(\n  share='normal/0'")


def test_single_runs_one_candidate_alone() -> None:
    choice = times(3, 5)
    x = torch.ones(2)
    assert choice(x).tolist() == [3.0, 3.0]
    choice.run = Single(1)
    assert choice(x).tolist() == [5.0, 5.0]


def test_mixture_is_the_weighted_sum_with_a_graph_to_weights_and_input() -> None:
    choice = times(3, 5, 7)
    weights = torch.tensor([0.5, 0.0, 2.0], requires_grad=True)
    x = torch.ones(2, requires_grad=True)
    choice.run = Mixture(weights)
    output = choice(x)
    assert output.tolist() == [15.5, 15.5]
    output.sum().backward()
    assert weights.grad is not None
    assert weights.grad.tolist() == [6.0, 10.0, 14.0]
    assert x.grad is not None
    assert x.grad.tolist() == [15.5, 15.5]


def test_mixture_of_dictionaries_and_named_inputs() -> None:
    class Pair(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def forward(self, x: Tensor, *, y: Tensor) -> dict[str, Any]:
            return {"sum": self.factor * (x + y), "rest": (x, self.factor * y)}

    choice = Choice({"one": Pair(1), "three": Pair(3)})
    choice.run = Mixture(torch.tensor([0.5, 0.5]))
    output = choice(torch.tensor(1.0), y=torch.tensor(2.0))
    assert output == {"sum": torch.tensor(6.0), "rest": (torch.tensor(1.0), torch.tensor(4.0))}


def test_a_switched_off_edge_outside_a_node() -> None:
    choice = times(1, 2, share="normal/3")
    choice.run = Single(None)
    assert choice.is_off
    with pytest.raises(UsageError, match="'normal/3' is switched off and can only be run inside"):
        choice(torch.ones(2))


@pytest.mark.parametrize("keep", [0, 3, -1])
def test_a_node_keeps_at_least_one_and_at_most_all(keep: int) -> None:
    with pytest.raises(UsageError, match=f"A Node of 2 edges cannot keep {keep}: keep must be be"):
        Node([times(1), times(2)], keep)


def test_a_node_has_choices_alone() -> None:
    with pytest.raises(UsageError, match="The edges of a Node must be Choices"):
        Node([times(1), nn.Identity()], 1)  # type: ignore[list-item]
    with pytest.raises(UsageError, match="A Node of 0 edges cannot keep 1"):
        Node([], 1)


def test_a_node_sums_its_surviving_edges() -> None:
    edges = [times(2, 3), times(5, 7), times(11, 13)]
    node = Node(edges, keep=2)
    inputs = [torch.tensor(1.0), torch.tensor(10.0), torch.tensor(100.0)]
    assert node(*inputs) == 2 + 50 + 1100
    edges[1].run, edges[2].run = Single(None), Single(1)
    assert node(*inputs) == 2 + 1300
    edges[0].run = Mixture(torch.tensor([0.5, 1.0]))
    assert node(*inputs) == 4 + 1300
    edges[0].run = Single(None)
    edges[1].run = Single(1)
    assert node(*inputs) == 70 + 1300
    assert repr(node).startswith("Node(\n  keep=2")


def test_a_switched_off_edge_in_a_probe_changes_no_output() -> None:
    edges = [times(2, 3), times(5, 7)]
    node = Node(edges, keep=1)
    probe = Probe((1, None), {"a": (2, 2)}, torch.device("cpu"), torch.float32)
    edges[0].run, edges[1].run = Probed(1, 0, probe), Probed(None, 1, probe)
    output = node(torch.tensor(1.0), torch.tensor(10.0))
    assert output == 3
    output.backward()
    assert probe.gradients()["a"].tolist() == [[2.0, 3.0], [50.0, 70.0]]


def test_a_node_wants_one_input_an_edge() -> None:
    with pytest.raises(UsageError, match="A Node of 2 edges was given 1 inputs"):
        Node([times(1), times(2)], 1)(torch.ones(2))


def test_edges_of_a_node_of_different_shapes() -> None:
    node = Node([Choice({"a": nn.Linear(2, 3)}), Choice({"b": nn.Linear(2, 4)})], 2)
    x = torch.ones(1, 2)
    with pytest.raises(UsageError, match=r"gives \(1, 3\) and 'another' gives \(1, 4\)"):
        node(x, x)


@pytest.mark.parametrize("run", ["probe", "mixture"])
def test_copies_and_pickles_leave_the_graph_behind(run: str) -> None:
    choice = times(2, 3)
    a = torch.tensor([0.0, 1.0], requires_grad=True)
    row = (a * 2) / 2
    probe = Probe((1,), {"a": (1, 2)}, torch.device("cpu"), torch.float32)
    choice.run = Probed(1, 0, probe) if run == "probe" else Mixture(row)
    for again in (copy.deepcopy(choice), pickle.loads(pickle.dumps(choice))):
        assert again.run == Single(0)
        assert again(torch.tensor(1.0)) == 2
    assert choice(torch.tensor(1.0)) == 3


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (2, 3, 5, 8), (2, 3, 5, 8, 7)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("channels", [None, 1, 3, 6])
def test_zero(shape: tuple[int, ...], stride: int, channels: int | None) -> None:
    x = torch.full(shape, torch.nan, requires_grad=True)
    output = Zero(channels, stride)(x, x)
    assert output.shape == (2, channels or 3, *(-(-n // stride) for n in shape[2:]))
    assert not output.any()
    assert not output.requires_grad
    assert output.is_contiguous()


def test_zero_follows_its_input() -> None:
    assert Zero()(torch.ones(1, 2, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert Zero()(torch.ones(1, 2, device="meta")).is_meta
    assert repr(Zero()) == "Zero()"
    assert repr(Zero(4, 2)) == "Zero(channels=4, stride=2)"


def test_a_mixture_runs_its_support_alone() -> None:
    choice = times(3, 5, 7)
    ran = []
    for operation in choice.operations:
        operation.register_forward_hook(lambda module, *_: ran.append(module.factor))
    weights = torch.tensor([2.0, 9.0, 0.5], requires_grad=True)
    choice.run = Mixture(weights, support=(0, 2))
    output = choice(torch.ones(2))
    assert output.tolist() == [9.5, 9.5]
    assert ran == [3, 7]
    output.sum().backward()
    assert weights.grad is not None
    assert weights.grad.tolist() == [6.0, 0.0, 14.0]


def test_a_mixture_of_no_candidate_is_a_switched_off_edge() -> None:
    edges = [times(2, 3), times(5, 7, share="normal/1")]
    edges[0].run = Mixture(torch.tensor([0.5, 0.0]), support=(0,))
    edges[1].run = Mixture(torch.tensor([0.0, 0.0]), support=())
    assert [edge.is_off for edge in edges] == [False, True]
    assert Node(edges, keep=1)(torch.tensor(1.0), torch.tensor(1.0)) == 1
    with pytest.raises(UsageError, match="'normal/1' is switched off and can only be run inside"):
        edges[1](torch.tensor(1.0))
