"""Networks of a user's own classes: imported where that can be, else one clear sentence."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.convnext import CNBlock
from torchvision.models.efficientnet import MBConv, MBConvConfig
from torchvision.ops.misc import MLP, Conv2dNormActivation

from nasp.errors import NaspError, UsageError
from nasp.exporters import export
from nasp.supernet.choice import Choice, Node
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet
from nasp.supernet.zero import Zero

LAYERS = '''
import torch
from torch import nn
from torchvision.ops import StochasticDepth


class Gate(nn.Module):
    """Holds a parameter, a buffer, a choice, and code that cannot be traced."""

    def __init__(self, width, inner):
        super().__init__()
        self.width = width
        self.inner = inner
        self.linear = nn.Linear(width, width)
        self.scale = nn.Parameter(torch.ones(width))
        self.register_buffer("mask", torch.arange(width) % 2 == 0)
        self.register_buffer("shift", torch.ones(()), persistent=False)

    def forward(self, x, y=None):
        if x.mean() > 100:
            return x
        x = self.inner(self.linear(x)) * self.scale * self.mask + self.shift
        x = nn.functional.dropout(x, 0.3, self.training)
        return x if y is None else x + y


class Residual(nn.Module):
    """Can be made by its constructor, which spoils what it is given."""

    def __init__(self, body: nn.Module, weight: float = 1.0):
        super().__init__()
        self.body = body
        self.weight = weight
        for parameter in body.parameters():
            nn.init.zeros_(parameter)

    def forward(self, x):
        return x + self.weight * self.body(x)


class Tied(nn.Module):
    def __init__(self, words, width, node):
        super().__init__()
        self.embedding = nn.Embedding(words, width)
        self.rnn = nn.LSTM(width, width, 2, dropout=0.1)
        self.node = node
        self.again = node
        self.decoder = nn.Linear(width, words)
        self.decoder.weight = self.embedding.weight

    def forward(self, tokens, hidden=None):
        x, hidden = self.rnn(self.embedding(tokens), hidden)
        x = self.again(self.node(x))
        return self.decoder(x), hidden


class Block(nn.Sequential):
    def __init__(self, width, act):
        super().__init__(nn.Linear(width, width), act())


class Chain(nn.Sequential):
    def __init__(self, inputs, outputs, kernel=3):
        conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        super().__init__(conv, nn.BatchNorm2d(outputs), nn.ReLU())


class Named(nn.Sequential):
    def __init__(self, width):
        super().__init__()
        self.add_module("conv", nn.Conv2d(width, width, 1))
        self.add_module("act", nn.ReLU())

    def forward(self, x):
        return x + super().forward(x)


class Dropped(nn.Module):
    def __init__(self, p):
        super().__init__()
        self.p = p
        self.depth = StochasticDepth(p, "row")

    def forward(self, x):
        return x + self.depth(2 * x)


class Scale:
    """Keeps another thing than it is given, and can be called."""

    def __init__(self, factor, inner=None):
        self.by = factor
        self.inner = inner

    def __call__(self, x):
        return x * self.by if self.inner is None else self.inner(x * self.by)


class Scaling(nn.Module):
    def __init__(self, scale):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return self.scale(x)


class Network(nn.Linear):
    """Has a name that the file uses itself."""


class Fancy(nn.Module):
    def __init__(self):
        super().__init__()
        self.things = {1, 2}

    def forward(self, x):
        return x
'''


@pytest.fixture
def layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a module with the classes of `LAYERS`, as one that a user wrote."""
    (tmp_path / "users_layers.py").write_text(LAYERS)
    monkeypatch.syspath_prepend(tmp_path)
    import importlib

    yield importlib.import_module("users_layers")
    sys.modules.pop("users_layers")


def loaded(path: Path) -> ModuleType:
    """Return an exported file as a module."""
    module = ModuleType("exported")
    module.__file__ = str(path)
    exec(compile(path.read_text(), path, "exec"), module.__dict__)
    return module


def assert_same(path: Path, network: nn.Module, *example: Tensor) -> Any:
    """Check that an exported file computes what the network does, and return the file's network."""
    written = loaded(path).load()
    for training in (False, True, False):
        results = []
        for module in (network, written):
            torch.manual_seed(0)
            with torch.no_grad():
                results.append(module.train(training)(*example))
        torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)
    return written


def test_a_class_is_subclassed_without_its_constructor(layers: Any, tmp_path: Path) -> None:
    inner = Choice({"tanh": nn.Tanh(), "seq": nn.Sequential(nn.Sigmoid(), nn.Dropout(0.2))})
    merge = Choice({"gate": layers.Gate(6, inner), "skip": nn.Identity()})
    supernet = Supernet(nn.Sequential(merge, nn.Linear(6, 2)))
    architecture = supernet.architecture((0, 1))
    network = derive(supernet, architecture)
    x = torch.randn(3, 6)
    export(network, tmp_path / "net.py", example=x)
    assert_same(tmp_path / "net.py", network, x)
    text = (tmp_path / "net.py").read_text()
    assert loaded(tmp_path / "net.py").load()[0].scale.requires_grad
    assert "from users_layers import Gate\n" in text
    assert "class FoundGate(Gate):" in text
    assert "nasp." not in text


def test_a_constructor_is_called_and_spoils_nothing(layers: Any, tmp_path: Path) -> None:
    network = nn.Sequential(
        layers.Residual(nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)), 0.5),
        layers.Residual(nn.Linear(4, 4)),
    )
    for parameter in network.parameters():
        nn.init.normal_(parameter)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    x = torch.randn(3, 4)
    export(network, tmp_path / "net.py", example=x)
    assert all(map(torch.equal, before, network.parameters()))
    assert_same(tmp_path / "net.py", network, x)
    text = (tmp_path / "net.py").read_text()
    assert "weight=0.5" in text
    assert "Residual(nn.Linear(4, 4))" in text


def test_names_that_are_numbers_are_no_names_in_python(layers: Any, tmp_path: Path) -> None:
    acts = (nn.ReLU, nn.Tanh, nn.Sigmoid)
    network = nn.Sequential(*(layers.Block(4, act) for act in acts))
    x = torch.randn(3, 4)
    export(network, tmp_path / "net.py", example=x)
    assert_same(tmp_path / "net.py", network, x)
    text = (tmp_path / "net.py").read_text()
    assert "def __init__(self, layer1: nn.Module) -> None:" in text
    assert 'self.add_module("1", layer1)' in text


def test_what_is_tied_stays_tied(layers: Any, tmp_path: Path) -> None:
    shared = nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.1))
    network = layers.Tied(20, 8, shared)
    tokens = torch.randint(20, (5, 3))
    exported = export(network, tmp_path / "net.py", example=tokens, batch_dim=1)
    assert exported.difference == 0
    written = assert_same(tmp_path / "net.py", network, tokens)
    assert written.decoder.weight is written.embedding.weight
    assert written.again is written.node
    assert sum(p.numel() for p in written.parameters()) == sum(
        p.numel() for p in network.parameters()
    )


def test_several_inputs_and_a_node(tmp_path: Path) -> None:
    edges = [Choice({"lin": nn.Linear(4, 4), "skip": nn.Identity()}) for _ in range(3)]
    supernet = Supernet(Node(edges, keep=2))
    network = derive(supernet, supernet.architecture(supernet.random_path()))
    example = tuple(torch.randn(2, 4) for _ in range(3))
    export(network, tmp_path / "net.py", example=example)
    assert_same(tmp_path / "net.py", network, *example)


def test_double_precision(layers: Any, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)).double()
    x = torch.randn(3, 4, dtype=torch.float64)
    export(network, tmp_path / "net.py", example=x)
    written = assert_same(tmp_path / "net.py", network, x)
    assert next(written.parameters()).dtype is torch.float64
    mixed = layers.Residual(nn.Linear(4, 4))
    mixed.register_buffer("steps", torch.zeros(1, dtype=torch.float64))
    with pytest.raises(UsageError, match=r"weights of several types .*float32, torch.float64"):
        export(mixed, tmp_path / "mixed.py", example=x.float())


def mobile() -> nn.Module:
    small = [MBConvConfig(4, 3, stride, 8, 8, 1) for stride in (1, 2)]
    return nn.Sequential(
        Conv2dNormActivation(3, 8, stride=2, activation_layer=nn.SiLU),
        *(MBConv(config, 0.5, nn.BatchNorm2d) for config in small),
        Conv2dNormActivation(8, 4, 1, norm_layer=None),
    )


@pytest.mark.parametrize(
    ("make", "reads"),
    [
        (
            lambda _: Conv2dNormActivation(3, 8, 5, dilation=2),
            "class Network(Conv2dNormActivation)",
        ),
        (lambda _: nn.Sequential(nn.Flatten(), MLP(192, [8, 4], dropout=0.1)), "MLP"),
        (
            lambda own: nn.Sequential(own.Chain(3, 4), own.Chain(4, 4, 1), own.Named(4)),
            "FoundChain(3, 3), FoundChain(4, 1)",
        ),
        (lambda _: mobile(), "MBConv"),
        (lambda _: nn.Sequential(nn.Conv2d(3, 8, 1), CNBlock(8, 1.0, 0.5)), "CNBlock"),
        (lambda own: nn.Sequential(own.Dropped(0.5), nn.Conv2d(3, 2, 1)), "Dropped(0.5)"),
        (lambda _: nn.Sequential(nn.Conv2d(3, 4, 1), Zero(stride=2)), "slice(None, None, 2)"),
        (lambda _: nn.Sequential(Zero(5, stride=3), nn.ReLU()), "slice(None, None, 3)"),
        (lambda _: nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 4, 1), Zero(stride=2)), "Zero()"),
    ],
    ids=["torchvision", "MLP", "own", "MBConv", "CNBlock", "depth", "zero", "wide", "1d"],
)
def test_ordinary_blocks(make: Any, reads: str, layers: Any, tmp_path: Path) -> None:
    network = make(layers)
    x = torch.randn(2, 3, 8, 8)
    export(network, tmp_path / "net.py", example=x)
    assert_same(tmp_path / "net.py", network, x)
    assert reads in (tmp_path / "net.py").read_text()


class Sum(nn.Module):
    def forward(self, x: Any, y: Any) -> Any:
        return x + y


def test_an_example_that_does_not_fit(tmp_path: Path) -> None:
    network = nn.Linear(4, 4)
    with pytest.raises(UsageError, match=r"cannot be run on the example.*: mat1 and mat2"):
        export(network, tmp_path / "net.py", example=torch.randn(2, 5))
    with pytest.raises(UsageError, match=r"Linear.forward\(\) takes 2 positional arguments but 3"):
        export(network, tmp_path / "net.py", example=(torch.randn(2, 4), torch.randn(3)))
    for name in ("net.pt2", "net.onnx"):  # a batch of any size must be known by its dimension
        with pytest.raises(UsageError, match=r"agree in dimension 0.* have \[2, 3\] there"):
            export(Sum(), tmp_path / name, example=(torch.randn(2, 4), torch.randn(3, 1, 1)))
        with pytest.raises(UsageError, match="have none there"):
            export(Sum(), tmp_path / name, example=(1, 2))
    assert not list(tmp_path.iterdir())


class Here(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


def local() -> nn.Module:
    class Local(Here):
        pass

    return Local()


def main() -> nn.Module:
    return type("Mine", (nn.Module,), {"__module__": "__main__", "forward": Here.forward})()


def hooked() -> nn.Module:
    layer = nn.Linear(4, 4)
    layer.register_forward_hook(lambda *_: None)
    return layer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (local, r"The Local at '1' needs .*Local of .* cannot import: put it at the top level"),
        (main, r"The Mine at '1' needs Mine of __main__, which a file cannot import"),
        (hooked, r"The Linear at '1' has hooks"),
        (
            lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)),
            r"The ParametrizedLinear at '1' has a re-parametrised weight",
        ),
    ],
    ids=["function", "main", "hooks", "parametrised"],
)
def test_what_a_file_cannot_say(make: Any, message: str, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(4, 4), make())
    with pytest.raises(UsageError, match=message):
        export(network, tmp_path / "net.py", example=torch.randn(2, 4))
    assert not list(tmp_path.iterdir())


def test_an_object_of_a_plain_class_is_made_again(layers: Any, tmp_path: Path) -> None:
    network = nn.Sequential(layers.Scaling(layers.Scale(0.5, layers.Scale(3.0))), nn.Linear(4, 2))
    x = torch.randn(2, 4)
    export(network, tmp_path / "net.py", example=x)
    written = assert_same(tmp_path / "net.py", network, x)
    assert written[0].scale.inner.by == 3.0
    assert "restored(Scale, by=0.5, inner=restored(Scale, by=3.0" in (
        (tmp_path / "net.py").read_text().replace("\n", "")
    )


def test_a_set_is_an_attribute_as_any(layers: Any, tmp_path: Path) -> None:
    network, x = layers.Fancy(), torch.randn(2, 4)
    export(network, tmp_path / "net.py", example=x)
    assert assert_same(tmp_path / "net.py", network, x).things == {1, 2}


def test_a_name_that_the_file_uses_itself(layers: Any, tmp_path: Path) -> None:
    network, x = (
        nn.Sequential(layers.Network(4, 2), layers.Scaling(layers.Scale(2.0))),
        torch.ones(1, 4),
    )
    export(network, tmp_path / "net.py", example=x)
    assert_same(tmp_path / "net.py", network, x)
    text = (tmp_path / "net.py").read_text()
    assert "from users_layers import Network as Network2\n" in text
    assert "Network2(4, 2)" in text
    ruff = [
        Path(sys.executable).with_name("ruff"),
        "check",
        "--isolated",
        "--select=I,F",
        "--no-cache",
    ]
    subprocess.run([*ruff, "net.py"], check=True, timeout=60, cwd=tmp_path)


def test_an_attribute_that_has_no_source(layers: Any, tmp_path: Path) -> None:
    network = layers.Fancy()
    network.things = object()
    with pytest.raises(UsageError, match=r"Attribute 'things' of the Fancy at .* holds a object"):
        export(network, tmp_path / "net.py", example=torch.randn(2, 4))


class Drifting(nn.Module):
    """Computes something else each time: no source equals it."""

    def forward(self, x: Tensor) -> Tensor:
        Drifting.calls = getattr(Drifting, "calls", 0) + 1
        return x * Drifting.calls


def test_what_does_not_compute_the_same_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or ModuleType(__name__))
    monkeypatch.setattr(sys.modules[__name__], "Drifting", Drifting, raising=False)
    for name in ("net.py", "net.pt2"):
        with pytest.raises(NaspError, match=r"nothing was written|cannot export"):
            export(Drifting(), tmp_path / name, example=torch.randn(2, 4))
    assert not list(tmp_path.iterdir())
