"""The probe against the plain graph: every candidate in the graph, weighted by a one-hot row."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import checkpoint

from nasp.errors import UsageError
from nasp.supernet.choice import Choice, Node
from nasp.supernet.leaves import Leaves
from nasp.supernet.path import Path
from nasp.supernet.probe.taps import Probe
from nasp.supernet.supernet import Supernet
from nasp.supernet.zero import Zero


class PlainChoice(nn.Module):
    """sum_k a_k O_k(x), written out; the others see the random state that the edge had."""

    def __init__(self, candidates: Mapping[str, nn.Module], share: str | None = None) -> None:
        super().__init__()
        self.candidates = nn.ModuleDict(dict(candidates))
        self.share = share
        self.a = torch.zeros(len(candidates))

    @property
    def is_on(self) -> bool:
        return bool(self.a.any())

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        chosen = int(self.a.argmax()) if self.is_on else None
        state = torch.get_rng_state()
        outputs = {}
        if chosen is not None:
            outputs[chosen] = list(self.candidates.values())[chosen](*args, **kwargs)
        for k, operation in enumerate(self.candidates.values()):
            if k != chosen:
                with torch.random.fork_rng(devices=[]):
                    torch.set_rng_state(state)
                    outputs[k] = operation(*args, **kwargs)
        ordered = [outputs[k] for k in range(len(outputs))]
        return pytree.tree_map(
            lambda *ts: sum(a * t for a, t in zip(self.a, ts, strict=True)), *ordered
        )


class PlainNode(nn.Module):
    """The sum of all edges, written out."""

    def __init__(self, edges: list[Any], keep: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(edges)

    def forward(self, *inputs: Any) -> Tensor:
        pairs: list[Any] = list(zip(self.edges, inputs, strict=True))
        pairs.sort(key=lambda pair: not pair[0].is_on)
        outputs = [edge(*(x if isinstance(x, tuple) else (x,))) for edge, x in pairs]
        return sum(outputs[1:], start=outputs[0])


EdgeClass = type[Choice] | type[PlainChoice]
NodeClass = type[Node] | type[PlainNode]
Make = Callable[[Any, Any], nn.Module]


@dataclass
class Pair:
    """One network in both forms, with the same weights."""

    supernet: Supernet
    plain: nn.Module

    @staticmethod
    def of(make: Make) -> Pair:
        torch.manual_seed(5)
        pair = Pair(Supernet(make(Choice, Node)), make(PlainChoice, PlainNode))
        pair.plain.load_state_dict(pair.supernet.network.state_dict())
        return pair

    def probe(self, path: Path) -> tuple[Probe, Leaves]:
        leaves = Leaves(self.supernet.one_hot(path), self.supernet.device)
        where = {
            edge: (table.name, row)
            for table in self.supernet.tables.values()
            for row, edge in enumerate(table.edges)
        }
        for place, module in self.plain.named_modules():
            if isinstance(module, PlainChoice):
                table, row = where[module.share or place or "network"]
                module.a = leaves.tables[table][row]
        return self.supernet.probe(path), leaves


def conv(kernel: int, affine: bool = True, tracked: bool = True) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 2, kernel, padding=kernel // 2),
        nn.BatchNorm2d(2, affine=affine, track_running_stats=tracked),
        nn.ReLU(inplace=True),
    )


def operations(**settings: bool) -> dict[str, nn.Module]:
    return {
        "conv1": conv(1, **settings),
        "conv3": conv(3, **settings),
        "pool": nn.AvgPool2d(3, 1, 1),
        "skip": nn.Identity(),
        "none": Zero(),
    }


class Cell(nn.Module):
    """A stem, two nodes of three edges; everything is seen in the output."""

    def __init__(self, edge: Any, node: Any, share: str | None, **settings: bool) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 2, 1)
        rows = [None if share is None else f"{share}/{index}" for index in range(5)]
        self.first = node([edge(operations(**settings), row) for row in rows[:2]], 1)
        self.second = node([edge(operations(**settings), row) for row in rows[2:]], 2)

    def forward(self, x: Tensor) -> Tensor:
        s = self.stem(x).tanh()
        n = self.first(s, x)
        return s + n + self.second(s, n, x)


class Several(nn.Module):
    """A candidate of several inputs, in every form, and an output of several tensors."""

    def __init__(self, scale: float, form: type) -> None:
        super().__init__()
        self.linear = nn.Conv2d(2, 2, 1)
        self.scale = scale
        self.form = form

    def forward(
        self, x: Tensor, mask: Tensor | None, mode: str, *, extra: dict[str, Any], power: int
    ) -> Any:
        assert mask is None
        assert mode == "mode"
        y = self.linear(x) * self.scale + extra["bias"][0] ** power
        z = y.sum(dim=1) * x.mean()
        if self.form is dict:
            return {"y": y, "z": z}
        return self.form([y, z])


class Caller(nn.Module):
    def __init__(self, edge: Any, form: type) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 2, 1)
        self.edge = edge({f"times{k}": Several(float(k), form) for k in range(3)})

    def forward(self, x: Tensor) -> Tensor:
        s = self.stem(x)
        out = self.edge(x, None, "mode", extra={"bias": (s, "text", 3)}, power=2)
        y, z = out.values() if isinstance(out, dict) else out
        return y.sin() + z[:, None].cos()


class OneOfTwo(nn.Module):
    """Of two outputs the second is never used."""

    def __init__(self, edge: Any) -> None:
        super().__init__()
        self.caller = edge({f"times{k}": Several(float(k), tuple) for k in range(3)})

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.caller(x, None, "mode", extra={"bias": [x]}, power=1)
        return y


class Add(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Multiply(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x * y


class PairsInNode(nn.Module):
    """A node whose edges take two inputs each."""

    def __init__(self, edge: Any, node: Any) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 2, 1)
        edges = [edge({"add": Add(), "multiply": Multiply()}) for _ in range(3)]
        self.node = node(edges, 1)

    def forward(self, x: Tensor) -> Tensor:
        s = self.stem(x)
        return self.node((x, s), (s, s), (s, x))


def nested(edge: Any) -> nn.Module:
    def inner() -> nn.Module:
        return edge({"conv": nn.Conv2d(2, 2, 3, padding=1), "skip": nn.Identity()})

    return nn.Sequential(
        nn.Conv2d(2, 2, 1),
        edge(
            {
                "deep": nn.Sequential(inner(), nn.Tanh(), inner()),
                "wide": nn.Sequential(edge({"a": nn.Sequential(inner()), "b": nn.Conv2d(2, 2, 1)})),
                "flat": nn.Identity(),
            }
        ),
    )


NETWORKS: dict[str, Make] = {
    "alone": lambda edge, node: edge(operations()),
    "nodes": lambda edge, node: Cell(edge, node, None),
    "BatchNorm without affine": lambda edge, node: Cell(edge, node, None, affine=False),
    "BatchNorm without statistics": lambda edge, node: Cell(edge, node, None, tracked=False),
    "shared rows": lambda edge, node: nn.Sequential(
        *(Cell(edge, node, share) for share in ("normal", "reduce", "normal", "normal"))
    ),
    "tuple": lambda edge, node: Caller(edge, tuple),
    "list": lambda edge, node: Caller(edge, list),
    "dict": lambda edge, node: Caller(edge, dict),
    "one of two outputs": lambda edge, node: OneOfTwo(edge),
    "pairs in a node": PairsInNode,
    "nested": lambda edge, node: nested(edge),
    "in place behind": lambda edge, node: nn.Sequential(
        nn.Conv2d(2, 2, 1), edge(operations()), nn.ReLU(inplace=True), nn.Conv2d(2, 2, 1)
    ),
    "dropout": lambda edge, node: nn.Sequential(
        nn.Dropout(0.3),
        DropoutNode(edge, node),
        nn.Dropout(0.6),
    ),
}


class DropoutNode(nn.Module):
    def __init__(self, edge: Any, node: Any) -> None:
        super().__init__()
        self.node = node(
            [
                edge({"drop": nn.Dropout(p), "more": nn.Sequential(nn.Dropout(0.4), conv(1))})
                for p in (0.2, 0.5, 0.8)
            ],
            2,
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.node(x, x.tanh(), x.sin())


@pytest.fixture(autouse=True)
def _double() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def images(seed: int = 0) -> Tensor:
    return torch.randn(3, 2, 5, 5, generator=torch.Generator().manual_seed(seed))


def loss_of(output: Tensor) -> Tensor:
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(9))
    return (output * weights.to(output)).sin().sum() + output.square().mean()


def assert_same_gradients(one: nn.Module, other: nn.Module) -> None:
    """Equal, where none and zero are the same."""
    for (name, a), b in zip(one.named_parameters(), other.parameters(), strict=True):
        left, right = (torch.zeros_like(p) if p.grad is None else p.grad for p in (a, b))
        torch.testing.assert_close(left, right, rtol=1e-10, atol=1e-10, msg=name)


def assert_close(one: Probe | Leaves, other: Probe | Leaves, tolerance: float = 1e-10) -> None:
    left, right = one.gradients(), other.gradients()
    assert left.keys() == right.keys()
    for name, gradient in left.items():
        torch.testing.assert_close(gradient, right[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_same_gradients_outputs_and_statistics_as_the_plain_graph(make: Make) -> None:
    pair = Pair.of(make)
    generator = torch.Generator().manual_seed(3)
    for step in range(6):
        ours, plains = pair.probe(pair.supernet.random_path(generator))
        x, y = images(step).requires_grad_(), images(step).requires_grad_()
        torch.manual_seed(step)
        output = pair.supernet(x)
        after = torch.get_rng_state()
        torch.manual_seed(step)
        expected = pair.plain(y)
        torch.testing.assert_close(output, expected, rtol=1e-12, atol=1e-12)
        assert torch.equal(torch.get_rng_state(), after)
        torch.manual_seed(step)
        before = torch.get_rng_state()
        loss_of(output).backward()
        assert torch.equal(torch.get_rng_state(), before)
        loss_of(expected).backward()
        assert_close(ours, plains)
        assert_same_gradients(pair.supernet.network, pair.plain)
        torch.testing.assert_close(x.grad, y.grad, rtol=1e-10, atol=1e-10)
        buffers = dict(pair.plain.named_buffers())
        for name, buffer in pair.supernet.network.named_buffers():
            torch.testing.assert_close(buffer, buffers[name], rtol=1e-12, atol=1e-12, msg=name)


def test_switched_off_edges_get_their_gradient() -> None:
    pair = Pair.of(NETWORKS["nodes"])
    path = pair.supernet.random_path(torch.Generator().manual_seed(0))
    off = [name for name, k in zip(pair.supernet.tables, path, strict=True) if k is None]
    assert len(off) == 2
    ours, _ = pair.probe(path)
    loss_of(pair.supernet(images())).backward()
    for name in off:
        gradient = ours.gradients()[name]
        # Operations one to four of five; `none` is worth nothing.
        assert (gradient[0, :4].abs() > 1e-3).all()
        assert gradient[0, 4] == 0


@pytest.mark.parametrize("name", ["nodes", "shared rows", "dict", "nested", "pairs in a node"])
def test_finite_differences(name: str) -> None:
    supernet = Pair.of(NETWORKS[name]).supernet
    path = supernet.random_path(torch.Generator().manual_seed(1))
    probed = supernet.probe(path)
    loss_of(supernet(images())).backward()
    step = 1e-6

    def loss_at(table: str, index: tuple[int, ...], value: float) -> float:
        moved = supernet.one_hot(path)
        moved[table][index] += value
        supernet.mixture(moved)
        with torch.no_grad():
            return float(loss_of(supernet(images())))

    for table, gradient in probed.gradients().items():
        for index in torch.cartesian_prod(*(torch.arange(n) for n in gradient.shape)).tolist():
            entry = tuple(index)
            slope = (loss_at(table, entry, step) - loss_at(table, entry, -step)) / (2 * step)
            assert float(gradient[entry]) == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_a_choice_inside_an_unchosen_candidate_gets_no_gradient_as_in_the_plain_graph() -> None:
    pair = Pair.of(NETWORKS["nested"])
    path = pair.supernet.random_path(torch.Generator().manual_seed(0))
    place = pair.supernet.edges.index("1")
    ours, plains = pair.probe((*path[:place], 2, *path[place + 1 :]))
    loss_of(pair.supernet(images())).backward()
    loss_of(pair.plain(images())).backward()
    for name in set(pair.supernet.tables) - {"1"}:
        assert not plains.gradients()[name].any()
        assert not ours.gradients()[name].any()
    assert_close(ours, plains)


@pytest.mark.parametrize("together", [True, False])
def test_gradients_of_several_passes_add_up(together: bool) -> None:
    pair = Pair.of(NETWORKS["shared rows"])
    ours, plains = pair.probe(pair.supernet.random_path(torch.Generator().manual_seed(2)))
    for network in (pair.supernet, pair.plain):
        losses = [loss_of(network(images(seed))) / 3 for seed in range(3)]
        if together:
            torch.stack(losses).sum().backward()
        else:
            for loss in losses:
                loss.backward()
    assert_close(ours, plains)
    assert_same_gradients(pair.supernet.network, pair.plain)


@pytest.mark.parametrize("name", ["nodes", "dropout", "dict", "nested"])
def test_under_checkpoint(name: str) -> None:
    pair = Pair.of(NETWORKS[name])
    again = copy.deepcopy(pair.supernet)
    for seed in range(3):
        path = pair.supernet.random_path(torch.Generator().manual_seed(seed))
        ours, once_more = pair.supernet.probe(path), again.probe(path)
        torch.manual_seed(0)
        output: Any = checkpoint(pair.supernet, images(seed), use_reentrant=False)
        loss_of(output).backward()
        torch.manual_seed(0)
        loss_of(again(images(seed))).backward()
        assert_close(ours, once_more, 1e-12)
        assert_same_gradients(pair.supernet, again)


def test_without_a_graph_the_chosen_candidate_runs_alone() -> None:
    pair = Pair.of(NETWORKS["nodes"])
    path = pair.supernet.random_path(torch.Generator().manual_seed(0))
    pair.supernet.probe(path)
    saved = {n: b.clone() for n, b in pair.supernet.named_buffers()}
    with torch.no_grad():
        output = pair.supernet(images())
    assert not output.requires_grad
    moved = {n for n, b in pair.supernet.named_buffers() if not torch.equal(b, saved[n])}
    # The BatchNorms of the chosen convolutions, and no others.
    expected = set()
    for name, edge in pair.supernet.named_modules():
        if isinstance(edge, Choice) and not edge.is_off:
            candidate = edge.names[edge.run.candidate]  # type: ignore[union-attr,index]
            if candidate.startswith("conv"):
                norm = f"{name}.candidates.{candidate}.1"
                buffers = ("running_mean", "running_var", "num_batches_tracked")
                expected |= {f"{norm}.{buffer}" for buffer in buffers}
    assert expected
    assert moved == expected
    pair.supernet.single(path)
    with torch.no_grad():
        torch.testing.assert_close(pair.supernet(images()), output)


def test_weights_get_no_gradient_when_only_the_alphas_are_asked_for() -> None:
    pair = Pair.of(NETWORKS["shared rows"])
    ours, plains = pair.probe(pair.supernet.random_path(torch.Generator().manual_seed(2)))
    loss_of(pair.supernet(images())).backward(inputs=ours.anchors)
    loss_of(pair.plain(images())).backward(inputs=plains.anchors)
    assert_close(ours, plains)
    assert all(weight.grad is None for weight in pair.supernet.parameters())


def saved_bytes(count: int, off: bool) -> tuple[int, int]:
    """How many tensors, and bytes, the graph of a probe of `count` candidates holds."""
    torch.manual_seed(0)
    edges = [Choice({f"conv{k}": conv(3) for k in range(count)}) for _ in range(2)]
    supernet = Supernet(nn.ModuleDict({"node": Node(edges, keep=1 if off else 2)}))
    supernet.probe((0, None if off else 0))
    x = images()
    found: list[int] = []

    def pack(tensor: Tensor) -> Tensor:
        found.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss_of(supernet.network["node"](x, x))  # type: ignore[index,operator]
    return len(found), sum(found)


@pytest.mark.parametrize("off", [True, False])
def test_nothing_of_the_unchosen_is_stored(off: bool) -> None:
    assert saved_bytes(2, off) == saved_bytes(12, off)


def test_the_unchosen_run_only_in_the_backward_pass_and_without_a_graph() -> None:
    calls: list[tuple[str, bool]] = []

    class Spy(nn.Module):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)
            self.name = name

        def forward(self, x: Tensor) -> Tensor:
            output = self.linear(x)
            calls.append((self.name, output.requires_grad))
            return output

    supernet = Supernet(Choice({name: Spy(name) for name in "abc"}))
    supernet.probe((1,))
    output = supernet(torch.randn(3, 2))
    assert calls == [("b", True)]
    output.sum().backward()
    assert calls == [("b", True), ("a", False), ("c", False)]


class Recorded(nn.Linear):
    """A linear layer that notes the type of what it returns."""

    seen: torch.dtype | None = None

    def forward(self, x: Tensor) -> Tensor:
        output = super().forward(x)
        self.seen = output.dtype
        return output


def linears(edge: Any, node: Any) -> nn.Module:
    return nn.Sequential(
        nn.Linear(8, 8),
        edge({name: nn.Sequential(Recorded(8, 8), nn.Tanh()) for name in "abc"}),
        nn.Linear(8, 8),
        edge({"x": Recorded(8, 8), "y": nn.Identity()}),
    )


def test_autocast() -> None:
    torch.set_default_dtype(torch.float32)
    pair = Pair.of(linears)
    exact = copy.deepcopy(pair)
    x = torch.randn(16, 8)
    path = pair.supernet.random_path(torch.Generator().manual_seed(0))
    ours, plains = pair.probe(path)
    _, exacts = exact.probe(path)
    losses = {}
    for key, network in (("ours", pair.supernet), ("plain", pair.plain)):
        with torch.autocast("cpu", torch.bfloat16):
            losses[key] = loss_of(network(x).float())
        losses[key].backward()
    loss_of(exact.plain(x)).backward()
    assert {m.seen for m in pair.supernet.modules() if isinstance(m, Recorded)} == {torch.bfloat16}
    assert float(losses["ours"].detach()) == pytest.approx(float(losses["plain"].detach()), 1e-2)
    expected = plains.gradients()
    for name, gradient in ours.gradients().items():
        assert gradient.dtype == torch.float32
        scale = float(exacts.gradients()[name].abs().max())
        torch.testing.assert_close(gradient, expected[name], rtol=0.02, atol=0.02 * scale)


def test_without_autocast_in_the_forward_pass_there_is_none_in_the_backward() -> None:
    torch.set_default_dtype(torch.float32)
    pair = Pair.of(linears)
    pair.supernet.probe(pair.supernet.random_path(torch.Generator().manual_seed(0)))
    loss = loss_of(pair.supernet(torch.randn(16, 8)))
    with torch.autocast("cpu", torch.bfloat16):
        loss.backward()
    assert {m.seen for m in pair.supernet.modules() if isinstance(m, Recorded)} == {torch.float32}


def test_a_backward_pass_inside_autocast_leaves_the_weights_their_graph() -> None:
    torch.set_default_dtype(torch.float32)
    supernet = Supernet(Choice({"a": nn.Linear(4, 4), "b": nn.Linear(4, 4)}))
    x = torch.randn(3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        supernet.probe((0,))
        supernet(x).float().sum().backward()
        supernet.single((1,))
        supernet(x).float().sum().backward()
    assert all(weight.grad is not None for weight in supernet.weights())


def test_candidates_of_different_shapes() -> None:
    supernet = Supernet(Choice({"three": nn.Linear(2, 3), "four": nn.Linear(2, 4)}))
    supernet.probe((0,))
    message = (
        r"All candidates of an edge must give one shape, but 'three' gives \(5, 3\) and 'four'"
        r" gives \(5, 4\)\."
    )
    output = supernet(torch.randn(5, 2))
    with pytest.raises(UsageError, match=message):
        output.sum().backward()
    supernet.mixture({"network": torch.tensor([[0.5, 0.5]])})
    with pytest.raises(UsageError, match=message):
        supernet(torch.randn(5, 2))


class Answers(nn.Module):
    def __init__(self, answer: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor) -> Any:
        return self.answer(x)


def test_a_candidate_that_returns_no_tensor() -> None:
    supernet = Supernet(Choice({"text": Answers(lambda x: "text"), "skip": nn.Identity()}))
    supernet.probe((0,))
    with pytest.raises(UsageError, match=r"candidates text, skip must return a tensor.*gave a str"):
        supernet(torch.randn(5, 2))


def test_a_candidate_that_returns_another_number_of_tensors() -> None:
    two = Answers(lambda x: (x, x))
    supernet = Supernet(Choice({"skip": nn.Identity(), "two": two}))
    supernet.probe((0,))
    output = supernet(torch.randn(5, 2))
    with pytest.raises(UsageError, match=r"'two' gives \(5, 2\), \(5, 2\)\."):
        output.sum().backward()


@pytest.mark.parametrize("chosen", ["in_place", "conv"])
def test_a_candidate_that_changes_the_shared_input(chosen: str) -> None:
    in_place = nn.Sequential(nn.SiLU(inplace=True), nn.Conv2d(2, 2, 1))
    net = Choice({"in_place": in_place, "conv": nn.Conv2d(2, 2, 3, padding=1)})
    supernet = Supernet(nn.Sequential(nn.Conv2d(2, 2, 1), net))
    probe = supernet.probe((net.names.index(chosen),))

    def step() -> None:
        supernet(images()).sum().backward()
        probe.gradients()

    with pytest.raises(UsageError, match=r"'in_place' changes its input in place.*inplace=False"):
        step()


def test_half_precision_alphas_of_a_double_network() -> None:
    supernet = Supernet(Choice({"one": nn.Linear(2, 2), "two": nn.Linear(2, 2)})).float()
    supernet.network.double()
    probed = supernet.probe((0,))
    x = torch.randn(3, 2)
    supernet(x).sum().backward()
    gradient = probed.gradients()["network"]
    assert gradient.dtype == torch.float32
    one, two = supernet.network.operations  # type: ignore[union-attr,misc]
    expected = torch.stack([one(x).sum(), two(x).sum()])
    torch.testing.assert_close(gradient[0], expected.float().detach())


def test_integer_inputs() -> None:
    class Net(nn.Module):
        def __init__(self, edge: Any) -> None:
            super().__init__()
            self.edge = edge({"small": nn.Embedding(5, 3), "big": nn.Embedding(9, 3)})

        def forward(self, x: Tensor) -> Tensor:
            return F.normalize(self.edge(x), dim=-1)

    pair = Pair.of(lambda edge, node: Net(edge))
    ours, plains = pair.probe((1,))
    tokens = torch.randint(5, (4, 6))
    for network in (pair.supernet, pair.plain):
        loss_of(network(tokens)).backward()
    assert_close(ours, plains)
    assert_same_gradients(pair.supernet.network, pair.plain)
