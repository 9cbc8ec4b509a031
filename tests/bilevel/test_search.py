"""The bilevel loop through `search`: what it returns, what it writes, how it fails."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import nasp
from nasp.bilevel.found import Found
from nasp.bilevel.own import search
from nasp.errors import NaspError, UsageError
from nasp.runs.folder import RunFolder, load_tensors
from nasp.runs.interruption import Interrupted
from nasp.supernet.architecture import Architecture
from nasp.training.events import Event, Started, Stepped
from tests.forks import Server

ALPHA_LR = {"lr": 0.05}


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(4, 8),
        nasp.Choice(
            {"deep": nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)), "skip": nn.Identity()}
        ),
        nasp.Choice({"wide": nn.Linear(8, 8), "tanh": nn.Tanh(), "none": nasp.Zero()}),
        nn.Dropout(0.1),
        nn.Linear(8, 3),
    )


def loader(count: int = 40, seed: int = 0) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, generator=generator)
    y = torch.randint(3, (count,), generator=generator)
    return DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True)


def searched(**settings: Any) -> Found:
    chosen: dict[str, Any] = {"epochs": 3, "settings": ALPHA_LR, "fallback": "none", **settings}
    return search(network(), loader(), loader(24, 1), **chosen)


def test_without_an_average_what_is_found_is_the_last_discrete_path(tmp_path: Path) -> None:
    steps: list[Stepped] = []

    def observe(event: Event) -> None:
        if isinstance(event, Stepped):
            steps.append(event)

    found = searched(run=tmp_path, observe=observe, average=0.0)
    assert len(steps) == 15
    assert steps[-1].architecture == found.architecture
    assert len({step.architecture for step in steps}) > 1  # it did move
    assert found.metrics[-1]["architecture"] == dict(found.architecture.edges)
    assert found.metrics == RunFolder.open(tmp_path).metrics()
    # The alphas' own maximum, edge by edge, is the same path: there is no rounding at the end.
    supernet = found.supernet
    assert supernet.architecture(supernet.discretise(supernet.alphas)) == found.architecture


def test_changed_edges_are_those_of_the_steps() -> None:
    steps: list[Stepped] = []

    def observe(event: Event) -> None:
        if isinstance(event, Stepped):
            steps.append(event)

    searched(observe=observe)
    for before, after in pairwise(steps):
        assert before.architecture is not None
        assert after.architecture is not None
        assert after.changed_edges == after.architecture.changes(before.architecture)


def test_what_is_found_is_what_the_second_half_chose_most_often(tmp_path: Path) -> None:
    steps: list[Stepped] = []

    def observe(event: Event) -> None:
        if isinstance(event, Stepped):
            steps.append(event)

    found = searched(run=tmp_path, observe=observe, epochs=4, mean_of="points")
    last = [step.architecture for step in steps[10:]]
    tensors = load_tensors(tmp_path / "alphas.safetensors")
    for edge, name in found.architecture.edges.items():
        counts = Counter(architecture[edge] for architecture in last if architecture is not None)
        assert counts[name] == max(counts.values())
        shares = tensors[f"shares of {edge}"]
        assert shares.shape[0] == 5
        assert float(shares[-1].max()) == pytest.approx(counts[name] / 10)
    assert found.metrics[-1]["architecture"] == dict(found.architecture.edges)
    margins = [float(t[-1].topk(2).values.diff().abs()) for n, t in tensors.items() if " " in n]
    assert found.metrics[-1]["margin_min"] == pytest.approx(min(margins))


def test_inherited_weights_are_those_of_the_single_path() -> None:
    found = searched()
    child = found.build()
    assert not any(type(module).__module__.startswith("nasp") for module in child.modules())
    supernet = found.supernet
    supernet.single(supernet.path(found.architecture))
    x = torch.randn(5, 4)
    for module in [*child.modules(), *supernet.modules()]:
        module.training = isinstance(module, nn.BatchNorm1d)  # its statistics are the child's own
    assert torch.equal(child(x), supernet(x))


def test_fresh_weights_are_those_before_the_search() -> None:
    found = searched()
    child = found.build("fresh")
    before = nasp.Supernet(network())
    before.eval().single(before.path(found.architecture))
    x = torch.randn(5, 4)
    assert torch.equal(child.eval()(x), before(x))
    assert not torch.equal(child(x), found.build().eval()(x))


def test_the_run_folder(tmp_path: Path) -> None:
    found = searched(run=tmp_path / "run", epochs=4)
    run = RunFolder.open(tmp_path / "run")
    assert found.run == run.path
    assert Architecture.load(run.architecture_path) == found.architecture
    weights = load_tensors(run.path / "weights.safetensors")
    state = found.supernet.network.state_dict()
    assert weights.keys() == state.keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in state.items())
    assert [line["epoch"] for line in run.metrics()] == [1, 2, 3, 4]
    alphas = load_tensors(run.path / "alphas.safetensors")
    assert alphas.keys() == {"1", "2", "gains of 1", "gains of 2"}
    for name, alpha in found.supernet.alphas.items():
        assert alphas[name].shape == (5, *alpha.shape)
        assert torch.equal(alphas[name][-1], alpha)
        assert torch.equal(alphas[name][0], torch.full(alpha.shape, 0.5))
        assert not torch.equal(alphas[name][1], alphas[name][0])
    assert json.loads(run.choices_path.read_text()) == {
        "1": {"edges": ["1"], "candidates": ["deep", "skip"]},
        "2": {"edges": ["2"], "candidates": ["wide", "tanh", "none"]},
    }
    assert run.config()["search"]["epochs"] == 4
    assert json.loads(run.config_path.read_text())["kind"] == "python-search"


def test_without_a_run_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = searched()
    assert found.run is None
    assert len(found.metrics) == 3
    assert list(tmp_path.iterdir()) == []


def test_the_metrics_are_means_over_the_epoch(tmp_path: Path) -> None:
    steps: list[Stepped] = []

    def observe(event: Event) -> None:
        if isinstance(event, Stepped):
            steps.append(event)

    found = searched(observe=observe)
    for epoch, line in enumerate(found.metrics, 1):
        last = [step for step in steps if step.epoch == epoch][-1]
        for name in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
            assert line[name] == last.means[name]
        assert 0 <= line["val_accuracy"] <= 1
        assert line["edges"] == 2


def contents(path: Path) -> dict[str, bytes]:
    names = ("metrics.jsonl", "architecture.json", "alphas.safetensors", "weights.safetensors")
    return {name: (path / name).read_bytes() for name in names}


def test_one_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        searched(run=tmp_path / name, seed=seed)
        torch.rand(3)  # the caller's own draws do not matter
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


@pytest.mark.parametrize("stop", [KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("at", [2, 5, 8, 14])
@pytest.mark.parametrize("minutes", [5.0, 1e-9])
def test_an_observer_that_raises_costs_nothing(
    tmp_path: Path, stop: type[BaseException], at: int, minutes: float
) -> None:
    searched(run=tmp_path / "whole", checkpoint_minutes=minutes)
    left = [at]

    def observe(event: Event) -> None:
        if isinstance(event, Stepped):
            left[0] -= 1
            if left[0] == 0:
                raise stop

    for _ in range(2):
        with pytest.raises(stop):
            searched(run=tmp_path / "run", observe=observe, checkpoint_minutes=minutes)
        left[0] = 1
    found = searched(run=tmp_path / "run", checkpoint_minutes=minutes)
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")
    assert len(found.metrics) == 3


def test_a_finished_run_is_only_read_again(tmp_path: Path) -> None:
    first = searched(run=tmp_path)
    before = contents(tmp_path)
    events: list[Event] = []
    again = searched(run=tmp_path, observe=events.append)
    assert events == [Started(3, 3, 5, 0)]
    assert again.architecture == first.architecture
    assert again.metrics == first.metrics
    assert contents(tmp_path) == before


def test_other_settings_need_another_folder(tmp_path: Path) -> None:
    searched(run=tmp_path)
    for other in ({"epochs": 4}, {"seed": 1}, {"settings": {"lr": 0.1}}, {"complexity": 0.1}):
        with pytest.raises(UsageError, match="holds a search with other settings"):
            searched(run=tmp_path, **other)


def test_a_run_in_use(tmp_path: Path) -> None:
    searched(run=tmp_path)
    with (
        RunFolder.open(tmp_path).lock(),
        pytest.raises(UsageError, match="Another process is at work"),
    ):
        searched(run=tmp_path)


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    def observe(event: Event) -> None:
        if isinstance(event, Stepped) and event.epoch == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match="all is saved") as caught:
        searched(run=tmp_path, observe=observe)
    assert f"nasp.search(..., run='{tmp_path}')" in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epoch": 3}, "Setting 'epoch' of strategy 'nasp': there is no such setting"),
        ({"settings": {"eta": 1}}, "Setting 'eta' of strategy 'nasp'"),
        ({"strategy": "magic"}, "Unknown strategy 'magic': choose one of"),
        ({"epochs": 0}, "Setting 'epochs' of search"),
        ({"lr": -1.0}, "Setting 'lr' of search"),
        ({"complexity": -1.0}, "Setting 'complexity' of search"),
        ({"device": "abacus"}, "Setting 'device' of search"),
        ({"precision": "8"}, "Setting 'precision' of search"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        searched(run=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()  # so that the mended call may use it


def test_a_strategys_setting_may_stand_beside_the_others() -> None:
    beside = searched(weight_decay=1e-4, settings={**ALPHA_LR, "uniform": 0.5})
    alone = searched(weight_decay=1e-4, settings=ALPHA_LR, uniform=0.5)
    assert beside.metrics == alone.metrics
    assert beside.metrics != searched(weight_decay=1e-4, settings=ALPHA_LR).metrics


def test_a_training_loader_needs_a_length() -> None:
    class Endless:
        def __iter__(self) -> Any:
            yield torch.randn(8, 4), torch.randint(3, (8,))

    with pytest.raises(UsageError, match="must have a length"):
        search(network(), Endless(), loader(), epochs=1)
    # The other one needs none.
    assert search(network(), loader(), Endless(), epochs=1).metrics[0]["val_loss"] > 0


def test_loaders_without_batches() -> None:
    with pytest.raises(UsageError, match="The training loader gives no batch"):
        search(network(), [], loader(), epochs=1)
    with pytest.raises(UsageError, match="The validation loader gives no batch"):
        search(network(), loader(), [], epochs=1)


def test_a_network_without_choices(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing to search"):
        search(nn.Linear(4, 3), loader(), loader(), epochs=1, run=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_loss_that_is_not_finite() -> None:
    with pytest.raises(NaspError, match="The loss became"):
        searched(lr=1e30, clip=None, epochs=8)


class TwoInputs(nn.Module):
    """A regression on two inputs, with a choice inside a candidate of another."""

    def __init__(self) -> None:
        super().__init__()
        inner = nasp.Choice({"relu": nn.ReLU(), "linear": nn.Linear(6, 6), "skip": nn.Identity()})
        self.body = nasp.Choice(
            {"deep": nn.Sequential(nn.Linear(6, 6), inner), "bilinear": nn.Tanh()}
        )
        self.merge = nasp.Choice({"both": nn.Bilinear(3, 2, 6), "first": First()})
        self.out = nn.Linear(6, 1)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        out: Tensor = self.out(self.body(self.merge(x, z))).squeeze(1)
        return out


class First(nn.Module):
    """Reads the first input alone."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 6)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        out: Tensor = self.linear(x)
        return out


def pairs(seed: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    g = torch.Generator().manual_seed(seed)
    batches = []
    for _ in range(20):
        x, z = torch.randn(16, 3, generator=g), torch.randn(16, 2, generator=g)
        batches.append((x, z, x[:, 0] * z[:, 1]))
    return batches


def test_a_loss_of_ones_own_several_inputs_and_nested_choices() -> None:
    torch.manual_seed(2)
    found = search(
        TwoInputs(),
        pairs(0),
        pairs(1),
        task=F.mse_loss,
        epochs=12,
        lr=0.02,
        settings={"lr": 0.003},
    )
    assert set(found.architecture.edges) == {"body", "body.candidates.deep.1", "merge"}
    assert found.metrics[-1]["train_loss"] < found.metrics[0]["train_loss"]
    assert "train_accuracy" not in found.metrics[0]
    child = found.build().eval()
    x, z, y = pairs(5)[0]
    supernet = found.supernet.eval()
    supernet.single(supernet.path(found.architecture))
    assert torch.equal(child(x, z), supernet(x, z))
    assert F.mse_loss(child(x, z), y) < F.mse_loss(torch.zeros(16), y)


def test_a_task_of_ones_own() -> None:
    class Keyed:
        def loss(self, net: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
            error = F.cross_entropy(net(batch["x"]), batch["y"])
            return error, {"double": 2 * error.detach()}

    batches = [{"x": torch.randn(6, 4), "y": torch.randint(3, (6,))} for _ in range(3)]
    found = search(network(), batches, batches, task=Keyed(), epochs=2)
    for line in found.metrics:
        assert line["train_double"] == pytest.approx(2 * line["train_loss"])
        assert line["val_double"] == pytest.approx(2 * line["val_loss"])


def plain_network() -> nn.Sequential:
    """Return a network in which a batch's mean is all that couples its examples."""
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(4, 8),
        nasp.Choice({"deep": nn.Linear(8, 8), "skip": nn.Identity(), "tanh": nn.Tanh()}),
        nn.Linear(8, 3),
    )


def test_accumulation_changes_memory_alone() -> None:
    results = [
        search(
            plain_network(),
            loader(),
            loader(24, 1),
            epochs=2,
            accumulate=parts,
            settings=ALPHA_LR,
        )
        for parts in (1, 2, 3)
    ]
    whole = results[0]
    for other in results[1:]:
        assert other.architecture == whole.architecture
        state = other.supernet.state_dict()
        for name, tensor in whole.supernet.state_dict().items():
            assert torch.allclose(state[name], tensor, atol=1e-5), name


@pytest.mark.parametrize("strategy", ["nasp", "darts"])
def test_complexity_moves_every_strategys_alphas(strategy: str) -> None:
    assert (
        searched(strategy=strategy, complexity=50.0).metrics != searched(strategy=strategy).metrics
    )


def test_a_search_in_double_precision() -> None:
    data: Iterable[Any] = [(torch.randn(6, 4), torch.randint(3, (6,)))]
    found = search(network(), data, data, epochs=1, precision="64-true")
    assert found.supernet.network[0].weight.dtype == torch.float64


@pytest.mark.slow
def test_the_function_is_there_whatever_was_imported_before(server: Server) -> None:
    forget = "import sys; [sys.modules.pop(name) for name in [*sys.modules] if 'nasp' in name];"
    done = server.run([], forget + "import nasp.jobs.search, nasp; assert callable(nasp.search)")
    assert done.code == 0, done.err


class Detection:
    """Images of several sizes, each with boxes of its own: lengths that no loop can compare."""

    def loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        images, targets = batch
        output = torch.stack([network(image[None]).mean() for image in images])
        return (output - torch.stack([t["boxes"].mean() for t in targets])).square().mean(), {}


@pytest.mark.parametrize("select", ["none", "rerank"])
def test_batches_whose_tensors_differ_in_length(select: str) -> None:
    batch = (
        [torch.rand(3, 20, 30), torch.rand(3, 24, 24)],
        [{"boxes": torch.rand(2, 4)}, {"boxes": torch.rand(5, 4)}],
    )
    choice = nasp.Choice({"c3": nn.Conv2d(3, 4, 3, padding=1), "c1": nn.Conv2d(3, 4, 1)})
    net = nn.Sequential(choice)
    found = search(net, [batch] * 2, [batch] * 2, task=Detection(), epochs=1, select=select)
    assert found.architecture["0"] in ("c3", "c1")
    with pytest.raises(UsageError, match="must agree in dimension 0 to be split"):
        search(net, [batch], [batch], task=Detection(), epochs=1, accumulate=2)
