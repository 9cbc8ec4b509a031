"""A derived network is plain, and computes what the supernet's path computed."""

import copy
import io
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn

from nasp.errors import UsageError
from nasp.spaces import SPACES, NetworkConfig, spaces_of
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice, Node
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet
from nasp.supernet.zero import Zero
from nasp.testing.sizes import fitting
from tests.forks import WITHOUT_NASP, Server


def conv(kernel: int, stride: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 2, kernel, stride, padding=kernel // 2), nn.BatchNorm2d(2), nn.ReLU()
    )


def edge(share: str | None = None, stride: int = 1) -> Choice:
    return Choice(
        {"one": conv(1, stride), "three": conv(3, stride), "none": Zero(2, stride)}, share
    )


class Body(nn.Module):
    """A user's own module: choices in attributes, in lists, in nodes, used twice, nested."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 2, 1)
        self.first = edge()
        self.alias = [self.first]
        self.nodes = nn.ModuleList(
            [Node([edge(f"cell/{row}") for row in range(3)], keep=2) for _ in range(2)]
        )
        self.shrink = Node([edge(stride=2), edge(stride=2)], keep=1)
        self.deep = Choice({"deep": nn.Sequential(edge(), nn.Tanh()), "flat": nn.Identity()})
        self.dropout = nn.Dropout(0.5)
        self.register_buffer("shift", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        s = self.stem(x)
        t = self.alias[0](s) + self.shift
        for node in self.nodes:
            s, t = t, node(s, t, x)
        t = self.first(t)
        return self.dropout(self.deep(self.shrink(t, s)))


class Shared(nn.Module):
    """One choice inside candidates of two others."""

    def __init__(self) -> None:
        super().__init__()
        inner = Choice({"a": nn.Conv2d(2, 2, 1), "b": nn.Conv2d(2, 2, 3, padding=1)})
        self.one = Choice({"inner": nn.Sequential(inner), "skip": nn.Identity()})
        self.two = Choice({"inner": nn.Sequential(inner, nn.Tanh()), "skip": nn.Identity()})

    def forward(self, x: Tensor) -> Tensor:
        return self.two(self.one(x))


class Pairs(nn.Module):
    """A node whose edges take two inputs, one of them in a tuple."""

    def __init__(self) -> None:
        super().__init__()
        pair = Choice({"bilinear": nn.Bilinear(5, 5, 5), "cosine": Distance()})
        self.node = Node([pair, Choice({"linear": nn.Linear(5, 5), "skip": nn.Identity()})], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.node((x, x.tanh()), x)


class Distance(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return (x - y).abs()


NETWORKS: dict[str, type[nn.Module]] = {"body": Body, "shared": Shared, "pairs": Pairs}
CONFIG = NetworkConfig(channels=2, cells=3)


def images(seed: int = 0, channels: int = 2, size: int = 5) -> Tensor:
    return torch.randn(3, channels, size, size, generator=torch.Generator().manual_seed(seed))


def trained(network: nn.Module, x: Tensor) -> Supernet:
    """A supernet whose statistics have seen data, in eval mode."""
    supernet = Supernet(network, "mine")
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in supernet.weights():
            weight.add_(torch.randn(weight.shape, generator=generator), alpha=0.1)
        for _ in range(5):
            supernet.single(supernet.random_path(generator))
            supernet(x)
    return supernet.eval()


def paths(supernet: Supernet, count: int = 8) -> list[tuple[int | None, ...]]:
    generator = torch.Generator().manual_seed(2)
    return [supernet.random_path(generator) for _ in range(count)]


LIVE = Architecture(
    {
        "first": "three",
        "cell/0": "one",
        "cell/1": "three",
        "cell/2": None,
        "shrink.edges.0": "three",
        "shrink.edges.1": None,
        "deep": "deep",
        "deep.candidates.deep.0": "one",
    },
    "mine",
)
"""An architecture of `Body` in which the output depends on every layer that is left."""


def no_trace_of_nasp(network: nn.Module) -> None:
    for module in network.modules():
        assert not type(module).__module__.startswith("nasp")
        if isinstance(module, fx.GraphModule):  # torch 2.6 pickles no type that is a text
            assert not any(isinstance(node.type, str) for node in module.graph.nodes)
    assert "nasp" not in repr(network).lower()
    assert not any("nasp" in name or "candidates" in name for name in network.state_dict())


@pytest.mark.parametrize("name", NETWORKS)
def test_computes_what_the_path_computes(name: str) -> None:
    supernet = trained(NETWORKS[name](), images())
    for path in paths(supernet):
        supernet.single(path)
        with torch.no_grad():
            expected = supernet(images(7))
            network = derive(supernet, supernet.architecture(path))
            assert torch.equal(network(images(7)), expected)
        assert not network.training
        no_trace_of_nasp(network)


@pytest.mark.parametrize("name", spaces_of("images"))
def test_spaces_supernets(name: str) -> None:
    x = images(0, channels=3, size=16)
    supernet = trained(SPACES[name].supernet(fitting(SPACES[name], CONFIG)), x)
    for path in paths(supernet, 2):
        supernet.single(path)
        with torch.no_grad():
            expected = supernet(x)
            network = derive(supernet, supernet.architecture(path))
            torch.testing.assert_close(network(x), expected)
        no_trace_of_nasp(network)
        assert b"nasp" not in pickle.dumps(network)


def test_zero_everywhere() -> None:
    x = images(0, channels=3, size=16)
    cells = SPACES["nasbench201"].supernet(CONFIG)
    for network, given in ((cells, x), (Body(), images())):
        supernet = trained(network, given)
        edges = supernet.architecture(paths(supernet, 1)[0]).edges
        nones = {e: c and ("deep" if e == "deep" else "none") for e, c in edges.items()}
        zeros = Architecture(nones, "mine")
        supernet.single(supernet.path(zeros))
        with torch.no_grad():
            assert torch.equal(derive(supernet, zeros)(given), supernet(given))


def test_state_dict_keys_are_the_candidates_in_the_places_of_the_choices() -> None:
    network = nn.Sequential(nn.Linear(2, 2), Choice({"a": nn.Linear(2, 2), "b": nn.Identity()}))
    supernet = Supernet(network)
    derived = derive(supernet, Architecture({"1": "a"}))
    assert set(derived.state_dict()) == {"0.weight", "0.bias", "1.weight", "1.bias"}
    assert set(derive(supernet, Architecture({"1": "b"})).state_dict()) == {"0.weight", "0.bias"}


def test_a_choice_that_is_the_whole_network() -> None:
    supernet = Supernet(Choice({"a": nn.Linear(2, 3), "b": nn.Identity()}))
    derived = derive(supernet, Architecture({"network": "a"}))
    assert type(derived) is nn.Linear
    assert torch.equal(derived.weight, supernet.network.operations[0].weight)  # type: ignore[union-attr,index]


def test_one_instance_used_twice_stays_one() -> None:
    supernet = trained(Body(), images())
    (path, *_) = paths(supernet)
    edges = {**supernet.architecture(path).edges, "first": supernet.candidates[0][0]}
    derived: Any = derive(supernet, Architecture(edges, "mine"))
    assert derived.alias[0] is derived.first


def test_plain_bytes_and_export() -> None:
    for name, make in NETWORKS.items():
        supernet = trained(make(), images())
        for path in paths(supernet, 2):
            network = derive(supernet, supernet.architecture(path))
            assert b"nasp" not in pickle.dumps(torch_modules_only(network)), name
            exported = torch.export.export(network, (images(7),))
            program: Any = exported.module()
            assert "nasp" not in program.code
            assert "nasp" not in exported.graph_module.code
            with torch.no_grad():
                torch.testing.assert_close(program(images(7)), network(images(7)))


def torch_modules_only(network: nn.Module) -> list[nn.Module]:
    """The derived network, without the classes of this test."""
    return [m for m in network.children() if not type(m).__module__.startswith("test")]


PLAIN_MODULE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, first, node, last):
        super().__init__()
        self.first, self.node, self.last = first, node, last

    def forward(self, x):
        y = self.first(x)
        return self.last(self.node(x, y, y))
"""

READER = """
import torch
network, x, expected = torch.load("all.pt", weights_only=False)
assert torch.equal(network(x), expected)
try:
    import nasp
except ImportError:
    print("equal without nasp")
"""


def test_unpickles_where_nasp_cannot_be_imported(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users_module.py").write_text(PLAIN_MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    import users_module

    net = users_module.Net(
        edge(), Node([edge(f"c/{k}") for k in range(3)], 2), Choice({"zero": Zero(4, 2)})
    )
    supernet = trained(net, images())
    assert list(supernet.tables) == ["first", "c", "last"]
    network = derive(supernet, supernet.architecture((1, 1, None, 2, 0)))
    network.last = nn.Sequential(network.last, nn.AvgPool2d(2))
    with torch.no_grad():
        expected = network(images())
    content = io.BytesIO()
    torch.save((network, images(), expected), content)
    assert b"nasp" not in content.getvalue()
    (tmp_path / "all.pt").write_bytes(content.getvalue())
    done = server.run((), f"{WITHOUT_NASP}sys.path.insert(0, '.')\n{READER}", tmp_path)
    assert done.out == "equal without nasp\n", done.err


def test_derived_networks_can_be_copied_and_trained() -> None:
    supernet = trained(Body(), images()).train()
    network = derive(supernet, LIVE)
    assert network.training
    again = copy.deepcopy(network)
    torch.manual_seed(0)
    network(images()).square().sum().backward()
    torch.manual_seed(0)
    again(images()).square().sum().backward()
    for one, two in zip(network.parameters(), again.parameters(), strict=True):
        assert one is not two
        assert (one.grad is None) == (two.grad is None)
        assert one.grad is None or torch.equal(one.grad, two.grad)  # type: ignore[arg-type]
    assert all(weight.grad is not None for weight in network.parameters())


def test_initial_weights_from_a_snapshot() -> None:
    network = Body()
    supernet = Supernet(network)
    initial = copy.deepcopy(network.state_dict())
    fresh = copy.deepcopy(supernet)
    trained(network, images())
    fresh.single(fresh.path(LIVE))
    fresh.eval()
    derived = derive(supernet, LIVE, weights=initial)
    with torch.no_grad():
        expected = fresh(images(7))
        assert torch.equal(derived(images(7)), expected)
        assert not torch.equal(derive(supernet, LIVE)(images(7)), expected)
        for tensor in derived.state_dict().values():
            tensor.add_(1)
    for name, tensor in fresh.network.state_dict().items():
        assert torch.equal(initial[name], tensor)


def test_the_supernet_is_left_untouched_and_two_derived_networks_are_independent() -> None:
    supernet = trained(Body(), images())
    probed = supernet.probe(supernet.path(LIVE))
    before = copy.deepcopy(supernet.state_dict())
    modules = list(supernet.modules())
    one, two = (derive(supernet, LIVE) for _ in range(2))
    with torch.no_grad():
        expected = two(images())
        for tensor in one.state_dict().values():
            tensor.add_(1)
        assert torch.equal(two(images()), expected)
        assert not torch.equal(one(images()), expected)
    assert all(a is b for a, b in zip(supernet.modules(), modules, strict=True))
    assert all(torch.equal(v, before[k]) for k, v in supernet.state_dict().items())
    supernet(images()).sum().backward()
    assert probed.gradients()["cell"].any()


def test_frozen_weights_stay_frozen_and_tied_ones_tied() -> None:
    net = nn.Sequential(nn.Linear(2, 2), Choice({"a": nn.Linear(2, 2)}), nn.Linear(2, 2))
    net[0].weight.requires_grad_(False)
    net[2].weight = net[0].weight
    for weights in (None, net.state_dict()):
        derived: Any = derive(Supernet(net), Architecture({"1": "a"}), weights)
        assert not derived[0].weight.requires_grad
        assert derived[1].weight.requires_grad
        assert derived[2].weight is derived[0].weight
        assert derived[0].weight is not net[0].weight


def test_architectures_that_do_not_belong() -> None:
    supernet = Supernet(nn.Sequential(edge(), Node([edge("n/0"), edge("n/1")], 1)))
    with pytest.raises(UsageError, match="they do not belong together"):
        derive(supernet, Architecture({"0": "one"}))
    with pytest.raises(UsageError, match="switches off an edge that is in no Node"):
        derive(supernet, Architecture({"0": None, "n/0": "one", "n/1": None}))
    with pytest.raises(UsageError, match="every edge of a Node"):
        derive(supernet, Architecture({"0": "one", "n/0": None, "n/1": None}))
