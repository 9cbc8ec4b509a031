"""The recurrent supernet: every quick way to run it against its choices, edge by edge."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from nasp.spaces import LanguageConfig, find_space
from nasp.spaces.recurrent_search import SearchCell
from nasp.spaces.sampling import random_architecture
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice, Mixture
from nasp.supernet.leaves import Leaves
from nasp.supernet.path import Path
from nasp.supernet.probe.taps import Probe
from nasp.supernet.supernet import Supernet

SPACE = find_space("recurrent")
SIZE, WORDS = 5, 7
Loss = Callable[[Tensor, Tensor], Tensor]
WEIGHTS = torch.randn(4, 6, WORDS, generator=torch.Generator().manual_seed(9)).double()


def whole(logits: Tensor, state: Tensor) -> Tensor:
    return (logits * WEIGHTS).sum() + state.sum()


def first_steps(logits: Tensor, _: Tensor) -> Tensor:
    """No gradient reaches the last steps."""
    return (logits * WEIGHTS)[:, :2].sum()


def make(cells: int = 1, train: bool = True) -> Supernet:
    torch.manual_seed(4)
    network = SPACE.supernet(LanguageConfig(vocabulary=WORDS, channels=SIZE, cells=cells))
    supernet = Supernet(network, "recurrent").double().train(train)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(15)
    return supernet


def listened(supernet: Supernet) -> Supernet:
    """Let all edges run one by one: a hook may not be passed by."""
    for module in supernet.modules():
        if isinstance(module, Choice):
            module.register_forward_hook(lambda *_: None)
    return supernet


def paths() -> list[Path]:
    supernet = make()
    drawn = [supernet.random_path(torch.Generator().manual_seed(seed)) for seed in range(4)]
    # None at every node but the first, from which all read.
    first = {node * (node + 1) // 2: 1 if node == 0 else 0 for node in range(8)}
    return [*drawn, tuple(first.get(edge) for edge in range(36))]


def gradients(
    supernet: Supernet, leaves: Leaves | Probe, loss: Loss = whole, passes: int = 1
) -> list[Tensor]:
    """Return the alphas' gradient, what went out, and BatchNorm's statistics."""
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randint(WORDS, (4, 6), generator=generator)
    size = supernet.network.get_submodule("").state_size  # type: ignore[operator]
    state = torch.randn(4, size, generator=generator).double()
    torch.manual_seed(8)  # masks of dropout
    outputs, total = [], torch.zeros(()).double()
    for _ in range(passes):
        logits, state = supernet(tokens, state)
        outputs += [logits.detach(), state.detach()]
        total = total + loss(logits, state)
    torch.autograd.backward(total, inputs=leaves.anchors)
    (gradient,) = leaves.gradients().values()
    statistics = [b.clone() for n, b in supernet.named_buffers() if "running" in n]
    return [gradient, *outputs, *statistics]


def assert_same(ours: list[Tensor], theirs: list[Tensor]) -> None:
    scale = theirs[0].abs().max()
    assert scale > 1e-3
    torch.testing.assert_close(ours[0] / scale, theirs[0] / scale, rtol=1e-10, atol=1e-10)
    for one, other in zip(ours[1:], theirs[1:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def plain(path: Path, **settings: int) -> tuple[Supernet, Leaves]:
    """The full graph of all candidates, edge by edge."""
    supernet = listened(make(**settings))
    leaves = Leaves(supernet.one_hot(path), supernet.device)
    supernet.mixture(leaves.tables)
    return supernet, leaves


@pytest.mark.parametrize("path", paths(), ids=["0", "1", "2", "3", "none"])
@pytest.mark.parametrize("fused", [True, False])
def test_the_probe_is_the_full_graphs_gradient(path: Path, fused: bool) -> None:
    supernet = make()
    leaves = supernet.probe(path, fused)
    assert_same(gradients(supernet, leaves), gradients(*plain(path)))


@pytest.mark.parametrize("loss", [whole, first_steps])
@pytest.mark.parametrize("cells", [1, 2])
@pytest.mark.parametrize("train", [True, False])
def test_layers_modes_and_steps_without_gradient(loss: Loss, cells: int, train: bool) -> None:
    path = paths()[0]
    supernet = make(cells, train)
    leaves = supernet.probe(path)
    expected = gradients(*plain(path, cells=cells, train=train), loss)
    assert_same(gradients(supernet, leaves, loss), expected)


def test_several_passes_add_up() -> None:
    path = paths()[1]
    supernet = make()
    leaves = supernet.probe(path)
    assert_same(gradients(supernet, leaves, passes=3), gradients(*plain(path), passes=3))


def test_chunks_of_time_steps_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    path = paths()[2]
    found = []
    for at_once in (1, 2 * 4 * SIZE, 2**18):
        monkeypatch.setattr("nasp.spaces.recurrent_probe.VALUES_AT_ONCE", at_once)
        supernet = make()
        leaves = supernet.probe(path)
        found.append(gradients(supernet, leaves))
    for one, other in pairwise(found):
        assert_same(one, other)


@pytest.mark.parametrize("support", [None, "some"])
def test_a_mixture_of_all_edges_at_once_is_their_sum(support: str | None) -> None:
    generator = torch.Generator().manual_seed(6)
    weights = {"recurrent": torch.rand(36, 5, generator=generator).double()}
    runs = torch.rand(36, 5, generator=generator) < 0.4
    runs[:36:7] = False  # edges that are off
    runs[[n * (n + 1) // 2 + n // 2 for n in range(8)], 2] = True
    results = []
    for supernet in (make(), listened(make())):
        leaves = Leaves(weights, supernet.device)
        supernet.mixture(leaves.tables)
        for choices, on in zip(supernet.choices(), runs.tolist(), strict=True):
            for choice in choices if support else ():
                assert isinstance(choice.run, Mixture)
                kept = tuple(k for k in range(5) if on[k])
                choice.run = Mixture(choice.run.weights, kept)
        results.append(gradients(supernet, leaves))
    assert_same(*results)


def test_without_a_graph_a_probe_runs_the_path_alone() -> None:
    path = paths()[0]
    supernet, other = make(), make()
    supernet.probe(path)
    other.single(path)
    tokens, state = torch.randint(WORDS, (4, 6)), torch.zeros(4, SIZE).double()
    outputs = []
    for net in (supernet, other):
        torch.manual_seed(1)
        with torch.no_grad():
            outputs.append(net(tokens, state)[0])
    assert torch.equal(*outputs)


def test_the_probe_takes_no_gradient_of_weights_and_no_other_pass_is_disturbed() -> None:
    path = paths()[0]
    supernet = make()
    leaves = supernet.probe(path)
    gradients(supernet, leaves)
    assert all(weight.grad is None for weight in supernet.weights())
    supernet.single(path)
    assert not [r for m in supernet.modules() for r in (m._forward_hooks, m._backward_hooks) if r]
    logits, _ = supernet(torch.randint(WORDS, (4, 6)), torch.zeros(4, SIZE).double())
    assert logits.requires_grad


def test_a_weight_step_through_a_path_reaches_its_weights_alone() -> None:
    chosen = dict(random_architecture(SPACE, 0).edges)
    chosen.update({f"recurrent/{edge}": None for edge in range(28, 36)} | {"recurrent/30": "none"})
    supernet = make()
    supernet.single(supernet.path(Architecture(chosen, "recurrent")))
    logits, _ = supernet(torch.randint(WORDS, (4, 6)), torch.zeros(4, SIZE).double())
    torch.autograd.backward((logits**2).sum())
    cell = supernet.network.get_submodule("layers.0")
    assert isinstance(cell, SearchCell)
    reached = [linear.get_parameter("weight").grad is not None for linear in cell.projections]
    assert reached == [True] * 7 + [False]


@pytest.mark.parametrize("run", ["single", "probe", "mixture"])
def test_autocast(run: str) -> None:
    path = paths()[0]
    torch.manual_seed(0)
    network = SPACE.supernet(LanguageConfig(vocabulary=WORDS, channels=SIZE))
    supernet = Supernet(network, "recurrent")
    leaves: Leaves | Probe = Leaves(supernet.one_hot(path), supernet.device)
    if run == "probe":
        leaves = supernet.probe(path)
    elif run == "single":
        supernet.single(path)
    elif isinstance(leaves, Leaves):
        supernet.mixture(leaves.tables)
    tokens, state = torch.randint(WORDS, (4, 6)), torch.zeros(4, SIZE)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, _ = supernet(tokens, state)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), tokens.flatten())
    if run == "single":
        torch.autograd.backward(loss)
        assert network.get_parameter("embedding.weight").grad is not None
        return
    torch.autograd.backward(loss, inputs=leaves.anchors)
    (gradient,) = leaves.gradients().values()
    assert torch.isfinite(gradient).all()
    assert gradient.abs().sum() > 0
