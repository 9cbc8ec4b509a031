"""Graphs without what does nothing, and forward methods that compute them in the same order."""

from __future__ import annotations

import operator
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torchvision.ops import StochasticDepth

from nasp.exporters.source.forwards import forward_of
from nasp.exporters.source.imports import Imports
from nasp.exporters.source.traces import attribute_name, essence, loops, simplified, singular
from nasp.supernet.choice import Choice, Node
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet
from nasp.supernet.zero import Zero


def body(graph: fx.Graph, **attributes: str) -> list[str]:
    """Return a forward's statements, a line each; a loop's body stands behind its head."""
    targets = {str(n.target): attribute_name(str(n.target)) for n in graph.nodes}
    lines = forward_of(graph, {**targets, **attributes}, Imports()).lines
    joined = "\n".join(lines).replace(":\n    ", ": ").splitlines()
    return [line for line in joined if not line.startswith("del ")]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("stem", "stem"),
        ("nodes.0.edges.1", "node0_edge1"),
        ("classes.2", "classe2"),
        ("0", "layer0"),
        ("0.1", "layer01"),
        ("lambda", "lambda_"),
        ("forward", "forward_"),
        ("class.7", "class7"),
    ],
)
def test_attribute_names(path: str, name: str) -> None:
    assert attribute_name(path) == name
    assert attribute_name(path).isidentifier()


def test_singular() -> None:
    assert [singular(word) for word in ("cells", "pass", "is", "cell")] == [
        "cell", "pass", "is", "cell",
    ]  # fmt: skip


def test_the_essence_of_a_module() -> None:
    conv = nn.Conv2d(1, 1, 1)
    dropped = nn.Sequential(nn.Sequential(conv, StochasticDepth(0.5, "row")), nn.Identity())
    assert essence(dropped) == (conv, "0.0")
    assert essence(nn.Sequential(conv, nn.ReLU()))[1] == ""
    assert isinstance(essence(nn.Sequential())[0], nn.Identity)


def derived(network: nn.Module, **candidates: str | None) -> nn.Module:
    supernet = Supernet(network)
    edges = {edge: candidates[edge.rpartition(".")[2]] for edge in supernet.edges}
    architecture = supernet.architecture(supernet.random_path())
    return derive(supernet, type(architecture)(edges))


def node(keep: int = 2) -> Node:
    candidates = {"lin": nn.Linear(2, 2), "skip": nn.Identity(), "none": Zero()}
    return Node([Choice(dict(candidates)) for _ in range(3)], keep)


def test_a_node_is_the_sum_of_what_is_left() -> None:
    network = derived(node(), **{"0": "lin", "1": None, "2": "skip"})
    assert body(simplified(network)) == ["return self.edge0(x0) + x2"]


def test_a_none_edge_adds_nothing() -> None:
    network = derived(node(), **{"0": "none", "1": "lin", "2": None})
    assert body(simplified(network)) == ["return self.edge1(x1)"]
    network = derived(node(), **{"0": "none", "1": "none", "2": None})
    (line,) = body(simplified(network))
    assert line.startswith("return torch.zeros_like(x1, ")


def test_what_is_not_read_is_said_to_be() -> None:
    network = derived(node(), **{"0": None, "1": "lin", "2": None})
    lines = forward_of(simplified(network), {"edges.1": "edge1"}, Imports()).lines
    assert lines == ("del x0, x2", "return self.edge1(x1)")


def test_a_chain() -> None:
    layers = {name: nn.Linear(2, 2) for name in ("stem", "body", "head")}
    assert body(simplified(nn.Sequential(OrderedDict(layers)))) == [
        "x = self.stem(x)",
        "x = self.body(x)",
        "return self.head(x)",
    ]


def cells(*offsets: int, count: int = 4, extra: int | None = None) -> fx.Graph:
    """Return calls of cells.0 to cells.N, each of the results so many calls before."""
    graph = fx.Graph()
    values = [graph.placeholder(name) for name in ("a", "b", "c")]
    for index in range(count):
        values.append(graph.call_module(f"cells.{index}", tuple(values[-o] for o in offsets)))
    last = values[-1]
    if extra is not None:
        last = graph.call_function(operator.add, (last, values[extra]))
    graph.output(last)
    return graph


def test_loops_are_found() -> None:
    assert body(cells(2, 1), cells="cells") == [
        "before, last = b, c",
        "for cell in self.cells: before, last = last, cell(before, last)",
        "return last",
    ]
    assert body(cells(1), cells="cells") == [
        "last = c",
        "for cell in self.cells: last = cell(last)",
        "return last",
    ]
    assert body(cells(3, 1), cells="cells")[1] == (
        "for cell in self.cells: before2, before1, last = before1, last, cell(before2, last)"
    )
    # The call before the last is still at hand behind the loop.
    assert body(cells(2, 1, extra=-2), cells="cells")[2] == "return last + before"


def test_what_is_no_loop_is_written_out() -> None:
    assert not loops(cells(2, 1, count=2))  # too short
    assert not loops(cells(1, extra=-3))  # an earlier result is read behind it
    graph = cells(1)
    list(graph.nodes)[4].args = (next(iter(graph.nodes)),)
    assert not loops(graph)  # one call reads something else
    assert len(body(graph)) == 4


class Ordered(nn.Module):
    """Draws random numbers in an order that an expression could change."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Dropout(0.5), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        one = self.first(x)
        two = self.second(x)
        return torch.sub(two, one)


def test_nothing_is_computed_in_another_order() -> None:
    lines = body(fx.Tracer().trace(Ordered()))
    assert lines == [
        "first = self.first(x)",
        "second = self.second(x)",
        "return torch.sub(second, first)",
    ]


def test_binding_is_kept() -> None:
    class Formula(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Any:
            return (x + y) * (x - (y - x)) / -(x * y)[:, :1, ...]

    names: dict[str, Any] = {"x": torch.randn(2, 3), "y": torch.randn(2, 3)}
    expected = Formula()(names["x"], names["y"])
    *lines, result = body(fx.Tracer().trace(Formula()))
    exec("\n".join(lines), names)
    assert torch.equal(eval(result.removeprefix("return "), names), expected)
