"""Examples of any structure; batches and sizes, free or fixed; what an ONNX model is asked for."""

from __future__ import annotations

from collections import UserDict
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

from nasp.errors import NaspError, UsageError
from nasp.exporters import export
from nasp.exporters.examples import example_of, parts_of, same

pytestmark = pytest.mark.usefixtures("importable")


class Masked(nn.Module):
    """Takes named arguments, and returns a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor, mask: Tensor | None = None, scale: Any = None) -> Any:
        y = self.layer(x) * (1 if scale is None else scale)
        return {"y": y if mask is None else y * mask[:, None], "more": (y.sum(1),)}


class Images(nn.Module):
    """Takes a list of images of several sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(3, 2, 1)

    def forward(self, images: list[Tensor]) -> list[Tensor]:
        return [self.layer(image[None]).mean((2, 3)) for image in images]


class Nested(nn.Module):
    """Takes one dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, batch: Any) -> Tensor:
        return self.layer(batch["a"]) + batch["more"][0]


@dataclass
class Graph:
    nodes: Tensor
    edges: Tensor


class Convolution(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, graph: Graph) -> Tensor:
        y = self.layer(graph.nodes)
        return torch.zeros_like(y).index_add(0, graph.edges[1], y[graph.edges[0]])


class Packed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.GRU(3, 4)

    def forward(self, words: Any) -> Any:
        return self.layer(words)[0]


class Counting(nn.Module):
    """Makes a number of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).view(len(x), -1)


class Halving(nn.Module):
    """A small U-Net: height and width must be even."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 4, 3, 2, 1)
        self.up = nn.ConvTranspose2d(4, 4, 2, 2)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(torch.cat([x, self.up(self.down(x).relu())], dim=1))


IMAGES = [torch.randn(3, 8, 8), torch.randn(3, 6, 5)]
NAMED = {"mask": torch.tensor([1.0, 0.5]), "x": torch.randn(2, 3)}
NESTED = ({"a": torch.randn(4, 3), "more": [torch.ones(4, 2)]},)
GRAPH = Graph(torch.randn(4, 3), torch.tensor([[0, 1], [1, 2]]))
WORDS = nn.utils.rnn.pack_sequence([torch.randn(4, 3), torch.randn(2, 3)])


@pytest.mark.parametrize(
    ("network", "example"),
    [
        (Masked(), NAMED),
        (Masked(), UserDict(NAMED)),
        (Masked(), (NAMED["x"], None, 2.0)),
        (Images(), IMAGES),
        (Nested(), NESTED),
        (Convolution(), GRAPH),
        (Packed(), WORDS),
    ],
    ids=["named", "UserDict", "None", "list", "nested", "dataclass", "PackedSequence"],
)
def test_source_of_a_network_that_takes_any_structure(
    network: nn.Module, example: Any, tmp_path: Path
) -> None:
    export(network, tmp_path / "net.py", example=example)
    module = ModuleType("exported")
    module.__file__ = str(tmp_path / "net.py")
    text = (tmp_path / "net.py").read_text()
    exec(compile(text, "net.py", "exec"), module.__dict__)
    given = example_of(network, example)
    with torch.no_grad():
        assert same(given.call(module.load()), given.call(network))
    exec(compile(text, "net.py", "exec"), {"__name__": "__main__", "__file__": module.__file__})


@pytest.mark.parametrize("ending", ["onnx", "pt2"])
@pytest.mark.parametrize(
    ("network", "example", "settings"),
    [
        (Masked(), NAMED, {}),
        (Masked(), UserDict(NAMED), {"batch": 3}),
        (Images(), IMAGES, {"batch_dim": None}),
        (Nested(), NESTED, {}),
    ],
    ids=["named", "UserDict", "list", "nested"],
)
def test_programs_of_networks_that_take_any_structure(
    network: nn.Module, example: Any, settings: dict[str, Any], ending: str, tmp_path: Path
) -> None:
    exported = export(network, tmp_path / f"net.{ending}", example=example, **settings)
    assert exported.difference < 1e-5


@dataclass
class Pair:
    x: Tensor
    mask: Tensor


class OfPair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, pair: Pair) -> Tensor:
        return self.layer(pair.x) * pair.mask[:, None]


def test_a_dataclass_that_torch_knows(tmp_path: Path) -> None:
    pair = Pair(torch.randn(2, 3), torch.ones(2))
    with pytest.raises(NaspError, match=r"To register a custom dataclass, use torch.export"):
        export(OfPair(), tmp_path / "net.onnx", example=pair)
    torch.export.register_dataclass(Pair)
    export(OfPair(), tmp_path / "net.onnx", example=pair)
    assert list(dimensions(tmp_path / "net.onnx").values()) == [["batch", 3], ["batch"]]


def dimensions(path: Path) -> dict[str, list[Any]]:
    inputs = onnx.load(path).graph.input
    return {
        each.name: [d.dim_param or d.dim_value for d in each.type.tensor_type.shape.dim]
        for each in inputs
    }


def test_a_batch_that_becomes_a_number(tmp_path: Path) -> None:
    for name in ("net.onnx", "net.pt2"):
        with pytest.raises(UsageError, match=r"as by len\(x\).* the batch: batch=2 \(--batch"):
            export(Counting(), tmp_path / name, example=torch.randn(2, 3))
        assert not list(tmp_path.glob("net*"))
    x = torch.randn(4, 3)
    export(Counting(), tmp_path / "net.onnx", example=x[:2], batch=4)
    assert dimensions(tmp_path / "net.onnx") == {"x": [4, 3]}
    export(Counting(), tmp_path / "net.pt2", example=x[:2], batch=4)
    assert torch.export.load(tmp_path / "net.pt2").module()(x).shape == (4, 2)
    export(Counting(), tmp_path / "net.py", example=x)


def test_free_height_and_width_opset_and_names(tmp_path: Path) -> None:
    import onnxruntime

    network, x = Halving(), torch.randn(2, 1, 16, 12)
    exported = export(
        network,
        tmp_path / "net.onnx",
        example=x,
        dynamic=(2, 3),
        opset=19,
        input_names=["image"],
        output_names=["mask"],
    )
    assert exported.difference < 1e-5
    assert dimensions(tmp_path / "net.onnx") == {"image": ["batch", 1, "height", "width"]}
    model = onnx.load(tmp_path / "net.onnx")
    assert [each.name for each in model.graph.output] == ["mask"]
    assert {each.domain: each.version for each in model.opset_import}[""] == 19
    other = torch.randn(3, 1, 20, 34)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    (mask,) = session.run(None, {"image": other.numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.tensor(mask), network(other), rtol=1e-4, atol=1e-5)
    export(network, tmp_path / "net.pt2", example=x, dynamic=(2, 3))
    with torch.no_grad():
        found = torch.export.load(tmp_path / "net.pt2").module()(other)
        torch.testing.assert_close(found, network(other), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("net.pt2", {"dynamic": (2, 3)}, r"twice as large in dimensions 2, 3: leave out dynamic"),
        ("net.onnx", {"dynamic": (2,)}, r"twice as large in dimensions 2: leave out dynamic"),
        ("net.onnx", {"dynamic": (2,), "batch_dim": None}, "leave out dynamic, or give batch_dim"),
        ("net.onnx", {"opset": 3}, r"written in opset \d+, and not to be had in 3"),
        ("net.py", {"batch": 4}, "A source file takes any sizes"),
        ("net.py", {"dynamic": (2,)}, "A source file takes any sizes"),
        ("net.py", {"opset": 18}, "opset is for ONNX alone"),
        ("net.pt2", {"input_names": ["x"]}, "input_names is for ONNX alone"),
    ],
)
def test_what_cannot_be_asked_for(
    name: str, settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(NaspError, match=message):
        export(network, tmp_path / name, example=torch.randn(2, 1, 4, 4), **settings)
    assert not list(tmp_path.iterdir())


def test_the_parts_of_a_structure() -> None:
    assert parts_of({"a": (1, [2.0]), "b": None}) == [1, 2.0, None]
    assert len(parts_of(WORDS)) == 4
    assert same((GRAPH.nodes, {"a": [1]}), (GRAPH.nodes.clone(), {"a": [1]}))
    assert not same([GRAPH.nodes], (GRAPH.nodes,))
    assert not same(GRAPH, Graph(GRAPH.nodes + 1, GRAPH.edges))
