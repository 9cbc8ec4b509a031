"""The fused probe against the plain graph: the same gradients, the same BatchNorm statistics."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nasp.errors import UsageError
from nasp.spaces import NetworkConfig, find_space, spaces_of
from nasp.supernet.choice import Choice, Node
from nasp.supernet.leaves import Leaves
from nasp.supernet.path import Path
from nasp.supernet.probe.candidate import Chain
from nasp.supernet.probe.taps import Probe
from nasp.supernet.supernet import Supernet
from nasp.supernet.zero import Zero
from nasp.testing.sizes import fitting

SIZE = NetworkConfig(channels=8, cells=3, image_size=16)


def conv(kernel: int, channels: int = 4, affine: bool = True) -> nn.Sequential:
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    )


def candidates() -> dict[str, nn.Module]:
    return {
        "sep": nn.Sequential(*conv(3), *conv(3)),
        "wide": nn.Sequential(*conv(5), *conv(5, affine=False)),
        "dense": nn.Sequential(nn.ReLU(), nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)),
        "pointwise": nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4)),
        "normed": nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 1)),
        "pool": nn.Sequential(nn.MaxPool2d(3, 1, 1), nn.BatchNorm2d(4, affine=False)),
        "untracked": nn.Sequential(
            nn.AvgPool2d(3, 1, 1), nn.BatchNorm2d(4, track_running_stats=False)
        ),
        "skip": nn.Identity(),
        "none": Zero(),
        "own": nn.Sequential(nn.Conv2d(4, 4, 1), nn.Tanh()),
    }


class Cell(nn.Module):
    """Two nodes of three edges each, all reading the same two tensors and each other."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.first = Node([Choice(candidates()) for _ in range(2)], keep=1)
        self.second = Node([Choice(candidates()) for _ in range(3)], keep=2)
        self.head = nn.Linear(4, 3)

    def body(self, x: Tensor) -> Tensor:
        y = self.first(x, x)
        return self.second(x, y, x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu_(self.body(self.stem(x))).mean((2, 3)))


class HalfCheckpointed(Cell):
    def forward(self, x: Tensor) -> Tensor:
        hidden = checkpoint(self.body, self.stem(x), use_reentrant=False)
        return self.head(hidden.mean((2, 3)))


def measured(supernet: Supernet, path: Path, x: Tensor, fused: bool | None) -> dict[str, Tensor]:
    """Alphas' gradients and buffers after one A step's pass; fused None is the plain graph."""
    again = copy.deepcopy(supernet)
    if fused is None:
        plain = Leaves(again.one_hot(path), again.device)
        again.mixture(plain.tables)
        leaves: Leaves | Probe = plain
    else:
        leaves = again.probe(path, fused, fixed_weights=True)
    again(x).square().sum().backward(inputs=leaves.anchors)
    return {**leaves.gradients(), **dict(again.named_buffers())}


def assert_same(
    ours: dict[str, Tensor], plain: dict[str, Tensor], tolerance: float = 1e-10
) -> None:
    assert ours.keys() == plain.keys()
    for name, tensor in plain.items():
        torch.testing.assert_close(ours[name], tensor, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("name", "seed"),
    [(name, seed) for name in spaces_of("images") for seed in range(1 if name == "mobile" else 3)],
)
def test_every_space_gets_the_plain_graphs_gradient(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    space = find_space(name)
    supernet = Supernet(space.supernet(fitting(space, SIZE)), name).double()
    path = supernet.random_path(torch.Generator().manual_seed(seed))
    x = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    assert_same(measured(supernet, path, x, True), measured(supernet, path, x, None))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_candidates_of_all_kinds(seed: int, layout: torch.memory_format) -> None:
    torch.manual_seed(seed)
    supernet = Supernet(Cell()).double().to(memory_format=layout)
    path = supernet.random_path(torch.Generator().manual_seed(seed))
    x = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    assert_same(measured(supernet, path, x, True), measured(supernet, path, x, None))


@pytest.mark.parametrize("fixed_weights", [False, True])
def test_chosen_weights_get_a_gradient_unless_they_are_fixed(fixed_weights: bool) -> None:
    torch.manual_seed(0)
    supernet = Supernet(Cell()).double()
    x = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    path = (0,) * len(supernet.edges)
    found = []
    for run in ("probe", "single"):
        again = copy.deepcopy(supernet)
        if run == "probe":
            again.probe(path, fixed_weights=fixed_weights)
        else:
            again.single(path)
        again(x).square().sum().backward()
        found.append({name: w.grad for name, w in again.named_parameters() if w.grad is not None})
    ours, alone = found
    if fixed_weights:
        # Those of BatchNorms come for nothing.
        alone = {n: g for n, g in alone.items() if "candidates" not in n or g.dim() == 1}
    assert_same(ours, alone)


def test_single_precision_is_near() -> None:
    torch.manual_seed(0)
    supernet = Supernet(find_space("darts").supernet(SIZE), "darts")
    path = supernet.random_path(torch.Generator().manual_seed(0))
    x = torch.randn(8, 3, 16, 16)
    ours, plain = measured(supernet, path, x, True), measured(supernet, path, x, None)
    for name in supernet.tables:
        scale = plain[name].abs().max()
        torch.testing.assert_close(ours[name] / scale, plain[name] / scale, rtol=0, atol=2e-5)


def test_a_checkpointed_part() -> None:
    torch.manual_seed(0)
    supernet = Supernet(HalfCheckpointed()).double()
    x = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    path = supernet.random_path(torch.Generator().manual_seed(2))
    ours, plain = measured(supernet, path, x, True), measured(supernet, path, x, None)
    tables = supernet.tables
    assert_same({name: ours[name] for name in tables}, {name: plain[name] for name in tables})


def change_nothing(_: nn.Module) -> None:
    return None


def evaluate_norms(module: nn.Module) -> None:
    if isinstance(module, nn.BatchNorm2d):
        module.eval()


def watch_convolutions(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        module.register_forward_hook(lambda _m, _x, output: output * 2)


@pytest.mark.parametrize("change", [change_nothing, evaluate_norms, watch_convolutions])
def test_modes_and_hooks_are_respected(change: Callable[[nn.Module], None]) -> None:
    torch.manual_seed(0)
    supernet = Supernet(Cell()).double().apply(change)
    path = supernet.random_path(torch.Generator().manual_seed(3))
    x = torch.randn(3, 3, 8, 8, dtype=torch.float64)
    assert_same(measured(supernet, path, x, True), measured(supernet, path, x, None))


def test_one_batch_norm_on_two_edges_takes_note_twice() -> None:
    shared = nn.BatchNorm2d(4)
    operation = nn.Sequential(nn.Conv2d(4, 4, 1, bias=False), shared)
    edges = [Choice({"skip": nn.Identity(), "conv": operation}) for _ in range(2)]
    supernet = Supernet(nn.Sequential(nn.Conv2d(3, 4, 1), *edges)).double()
    buffers = measured(supernet, (0, 0), torch.randn(2, 3, 4, 4, dtype=torch.float64), True)
    assert [int(b) for name, b in buffers.items() if "num_batches" in name] == [2]


def test_one_input_may_pass_several_times() -> None:
    edge = Choice({"skip": nn.Identity(), "conv": conv(3, 3)})
    supernet = Supernet(edge).double()
    x = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    once = measured(supernet, (0,), x, True)["network"]
    probed = supernet.probe((0,))
    for _ in range(2):
        supernet(x).square().sum().backward(inputs=probed.anchors)
    torch.testing.assert_close(probed.gradients()["network"], 2 * once)


def test_passes_of_several_parts_of_a_batch_add_up() -> None:
    torch.manual_seed(0)
    supernet = Supernet(Cell()).double()
    path = supernet.random_path(torch.Generator().manual_seed(4))
    parts = torch.randn(6, 3, 8, 8, dtype=torch.float64).split(3)
    again = copy.deepcopy(supernet)
    plain = Leaves(again.one_hot(path), again.device)
    again.mixture(plain.tables)
    ours = supernet.probe(path, fixed_weights=True)
    for part in parts:
        supernet(part).square().sum().backward(inputs=ours.anchors)
        again(part).square().sum().backward(inputs=plain.anchors)
    assert_same(
        ours.gradients() | dict(supernet.named_buffers()),
        plain.gradients() | dict(again.named_buffers()),
    )


def test_a_candidate_of_another_shape_is_named_an_error() -> None:
    edge = Choice({"skip": nn.Identity(), "smaller": nn.Sequential(nn.MaxPool2d(2))})
    supernet = Supernet(nn.Sequential(nn.Conv2d(3, 4, 1), edge))
    probe = supernet.probe((0,))
    supernet(torch.randn(2, 3, 4, 4)).sum().backward()
    with pytest.raises(UsageError, match="must give one shape"):
        probe.gradients()


def test_what_an_edge_read_must_stay_as_it_was() -> None:
    class Changes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 4, 1)
            self.edge = Choice({"skip": nn.Identity(), "conv": conv(3)})

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            y = self.edge(x)
            return y + x.mul_(2)

    supernet = Supernet(Changes())
    probe = supernet.probe((0,))
    supernet(torch.randn(2, 3, 4, 4)).sum().backward()
    with pytest.raises(UsageError, match=r"skip, conv read was changed in place.*inplace=False"):
        probe.gradients()


@pytest.mark.parametrize("fused", [True, False])
def test_a_pass_without_a_backward_pass_is_freed_with_its_output(fused: bool) -> None:
    class Held:
        """Hangs on the graph of the stem's output."""

    held: list[weakref.ref[Held]] = []

    def hold(_module: nn.Module, _inputs: object, output: Tensor) -> None:
        thing = Held()
        held.append(weakref.ref(thing))
        output.register_hook(partial(lambda _thing, _gradient: None, thing))

    supernet = Supernet(Cell())
    supernet.network.get_submodule("stem").register_forward_hook(hold)
    path = (0, None, 0, 0, None)
    probe = supernet.probe(path, fused)
    loss = supernet(torch.randn(2, 3, 8, 8)).square().sum()
    assert held[0]() is not None
    del loss, probe
    supernet.single(path)
    gc.collect()
    assert held[0]() is None


def test_what_is_a_chain() -> None:
    assert Chain.of(nn.Identity()) == Chain((), ())
    assert Chain.of(nn.Sequential(nn.ReLU(), nn.Sequential(nn.Conv2d(1, 1, 1)))) is not None
    assert Chain.of(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Dropout())) is None
    assert Chain.of(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")) is None
    assert Chain.of(nn.BatchNorm2d(1, momentum=None)) is None  # type: ignore[arg-type]


def saved_tensors(copies: int) -> int:
    """Tensors that the forward pass keeps, with so many copies of each candidate."""
    edge = Choice({f"c{index}": conv(3) for index in range(copies)})
    supernet = Supernet(nn.Sequential(nn.Conv2d(3, 4, 1), edge))
    supernet.probe((0,))
    output = supernet(torch.randn(2, 3, 4, 4))
    seen, waiting, count = set(), [output.grad_fn], 0
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        count += sum(name.startswith("_raw_saved") for name in dir(node))
        waiting += [following for following, _ in node.next_functions]
    return count


def test_nothing_is_kept_of_what_is_not_chosen() -> None:
    assert saved_tensors(2) == saved_tensors(12) > 0
