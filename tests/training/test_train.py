"""Training of a derived network: the auxiliary head, drop-path, best and last weights."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.ops import StochasticDepth

from nasp.domains.images.auxiliary import WithAuxiliaryHead, WithAuxiliaryLoss
from nasp.domains.images.drop_path import RatesWithDropPath
from nasp.domains.images.task import ImageClassification
from nasp.domains.images.train import ImageTrainConfig
from nasp.errors import NaspError, UsageError
from nasp.runs.clock import CLOCKS
from nasp.runs.folder import RunFolder, load_tensors
from nasp.training.events import EpochEnded, Event, Stepped
from nasp.training.task import Figure
from nasp.training.train import Best, Trained, train

TASK = ImageClassification(3)


def network(drop_path: bool = False) -> nn.Sequential:
    torch.manual_seed(1)
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU()]
    if drop_path:
        layers.append(StochasticDepth(0.0, "row"))
    return nn.Sequential(*layers, nn.Linear(8, 3))


def loader(count: int = 24, seed: int = 0, shuffle: bool = True) -> DataLoader[Any]:
    g = torch.Generator().manual_seed(seed)
    x, y = torch.randn(count, 1, 2, 2, generator=g), torch.randint(3, (count,), generator=g)
    return DataLoader(TensorDataset(x, y), batch_size=8, shuffle=shuffle)


def config(**settings: Any) -> ImageTrainConfig:
    return ImageTrainConfig(**{"epochs": 3, "drop_path": 0.0, "auxiliary": 0.0, **settings})


def with_head() -> WithAuxiliaryHead:
    return WithAuxiliaryHead(network(), "3", nn.Linear(8, 3))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_networks_and_four_tenths_of_the_heads(smoothing: float) -> None:
    net = with_head()
    task = ImageClassification(3, smoothing)
    x, y = next(iter(loader()))
    loss, metrics = WithAuxiliaryLoss(task, net, 0.4).loss(net, (x, y))
    features = net.network[:4](x)
    main = F.cross_entropy(net.network[4](features), y, label_smoothing=smoothing)
    head = F.cross_entropy(net.head(features), y, label_smoothing=smoothing)
    assert torch.allclose(loss, main + 0.4 * head)
    alone, expected = task.loss(net.network, (x, y))
    assert torch.allclose(alone, main)
    assert metrics == expected
    loss.backward()
    assert all(p.grad is not None for p in net.parameters())


def test_evaluation_knows_no_head() -> None:
    net = with_head().eval()
    x, y = next(iter(loader()))
    assert torch.equal(net(x), net.network(x))
    assert net.logits is None
    loss, _ = WithAuxiliaryLoss(TASK, net, 0.4).loss(net, (x, y))
    assert torch.equal(loss, F.cross_entropy(net.network(x), y))
    test = loader(shuffle=False)
    assert TASK.evaluate(net, test) == TASK.evaluate(net.network, test)


def test_no_features_are_kept() -> None:
    net = with_head()
    net(torch.randn(4, 1, 2, 2))
    assert net._features is None


@pytest.mark.parametrize(
    ("weight", "given", "trains"), [(0.4, True, True), (0.0, True, False), (0.4, False, False)]
)
def test_the_head_is_trained_only_if_wanted(weight: float, given: bool, trains: bool) -> None:
    head = nn.Linear(8, 3)
    before = head.weight.clone()
    net = network()
    settings = config(auxiliary=weight)
    trained = train(net, loader(), loader(), TASK, settings, ("3", head) if given else None)
    assert torch.equal(head.weight, before) is not trains
    assert trained.network is net
    # The last line was measured on the network alone.
    measured = TASK.evaluate(net, loader())
    assert trained.last["val_accuracy"] == measured["accuracy"]
    assert trained.last["val_loss"] == pytest.approx(measured["loss"])


def schedule(net: nn.Module, last: float) -> RatesWithDropPath:
    settings = config(drop_path=last, epochs=6)
    return settings.course(settings.learner(net, TASK, list(net.parameters())), net)


@pytest.mark.filterwarnings("ignore:Detected call of")
def test_drop_path_rises_linearly() -> None:
    net = nn.Sequential(network(True), network(True))
    rising = schedule(net, 0.3)
    seen = []
    for _ in range(6):
        drops = {m.p for m in net.modules() if isinstance(m, StochasticDepth)}
        assert len(drops) == 1
        seen.append(drops.pop())
        rising.end_epoch({})
    assert seen == pytest.approx([0.0, 0.05, 0.1, 0.15, 0.2, 0.25])


@pytest.mark.filterwarnings("ignore:Detected call of")
def test_drop_path_goes_on_where_it_was() -> None:
    rising = schedule(network(True), 0.3)
    rising.end_epoch({})
    rising.end_epoch({})
    net = network(True)
    schedule(net, 0.3).load_state_dict(rising.state_dict())
    drops = [m.p for m in net.modules() if isinstance(m, StochasticDepth)]
    assert drops == pytest.approx([0.1])


def test_drop_path_needs_its_modules() -> None:
    with pytest.raises(UsageError, match="without drop-path"):
        schedule(network(), 0.1)
    schedule(network(), 0.0)


def test_drop_path_follows_the_epochs_of_a_training() -> None:
    net = network(True)
    seen: list[float] = []

    def observe(event: Event) -> None:
        if isinstance(event, Stepped) and event.step == 1:
            seen.extend(m.p for m in net.modules() if isinstance(m, StochasticDepth))

    train(net, loader(), loader(), TASK, config(drop_path=0.6), observe=observe)
    assert seen == pytest.approx([0.0, 0.2, 0.4])


@pytest.mark.parametrize("higher", [True, False])
def test_best(higher: bool) -> None:
    figure, sign = Figure("figure", higher), 1 if higher else -1
    best = Best(figure)
    seen = [best.improved(sign * value) for value in (0.0, 0.5, 0.4, 0.5, 0.6)]
    assert seen == [True, True, False, False, True]
    again = Best(figure)
    again.load_state_dict(best.state_dict())
    assert not again.improved(sign * 0.6)
    assert again.improved(sign * 0.61)


def test_the_best_line_goes_by_the_figure() -> None:
    lines = [{"valid_perplexity": value} for value in (9.0, 3.0, 5.0)]
    trained = Trained(network(), lines, Figure("perplexity", higher_is_better=False), "valid")
    assert trained.best is lines[1]
    assert trained.last is lines[2]


def test_no_epoch_begins_when_the_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(step=8.0)  # eight seconds between any two looks at it
    monkeypatch.setitem(CLOCKS, "wall", lambda: next(clock))
    run = RunFolder.create(tmp_path, {})
    trained = train(network(), loader(), None, TASK, config(epochs=9, minutes=0.6), run=run)
    seconds = [line["seconds"] for line in run.timing()]
    assert 1 < len(trained.metrics) < 9
    assert sum(seconds) >= 36 > sum(seconds[:-1])
    again = train(network(), loader(), None, TASK, config(epochs=9, minutes=0.6), run=run)
    assert again.metrics == trained.metrics


def test_best_and_last_weights(tmp_path: Path) -> None:
    net, test = network(), loader(60, 7)
    snapshots: dict[int, dict[str, Tensor]] = {}

    def observe(event: Event) -> None:
        if isinstance(event, EpochEnded):
            snapshots[event.epoch] = {k: v.clone() for k, v in net.state_dict().items()}

    run = RunFolder.create(tmp_path, {})
    settings = config(epochs=8, lr=0.5)
    trained = train(net, loader(), test, TASK, settings, run=run, observe=observe)
    accuracies = [line["val_accuracy"] for line in trained.metrics]
    first_best = accuracies.index(max(accuracies)) + 1
    assert first_best < 8  # else the two files are one
    assert trained.best["epoch"] == first_best
    assert trained.last["epoch"] == 8
    for name, epoch in (("best.safetensors", first_best), ("weights.safetensors", 8)):
        tensors = load_tensors(tmp_path / name)
        assert tensors.keys() == snapshots[epoch].keys()
        for key, tensor in snapshots[epoch].items():
            assert torch.equal(tensors[key], tensor), (name, key)
    assert trained.metrics == run.metrics()


def test_the_learning_rate_falls_along_a_cosine(tmp_path: Path) -> None:
    trained = train(network(), loader(), loader(), TASK, config(epochs=4, lr=0.2, lr_min=0.02))
    expected = [0.02 + 0.18 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]
    assert [line["lr"] for line in trained.metrics] == pytest.approx(expected)


def test_one_seed_gives_the_same_weights() -> None:
    settings = [config(seed=seed) for seed in (4, 4, 5)]
    lines = [train(network(), loader(), loader(), TASK, one).metrics for one in settings]
    assert lines[0] == lines[1]
    assert lines[0] != lines[2]


@pytest.mark.parametrize("at", [1, 3, 4, 8])
def test_a_training_that_failed_goes_on(tmp_path: Path, at: int) -> None:
    def trained(path: Path, fail_at: int = 0) -> None:
        left = [fail_at]

        def observe(event: Event) -> None:
            if isinstance(event, Stepped):
                left[0] -= 1
                if left[0] == 0:
                    raise KeyboardInterrupt

        is_new = not (path / "config.json").exists()
        run = RunFolder.create(path, {}) if is_new else RunFolder.open(path)
        settings = config(drop_path=0.5, auxiliary=0.4, checkpoint_minutes=1e-9)
        torch.manual_seed(2)
        head = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 3))
        net = network(True)
        train(net, loader(), loader(30, 2, False), TASK, settings, ("3", head), run, observe)

    trained(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        trained(tmp_path / "run", at)
    trained(tmp_path / "run")
    for name in ("metrics.jsonl", "weights.safetensors", "best.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_best_is_remembered_across_a_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = iter([0.9, 0.1, 0.2])
    measured = lambda *_: {"accuracy": next(accuracies), "loss": 1.0}  # noqa: E731
    monkeypatch.setattr(ImageClassification, "evaluate", measured)

    def stop(event: Event) -> None:
        if isinstance(event, EpochEnded) and event.epoch == 1:
            raise KeyboardInterrupt

    run = RunFolder.create(tmp_path, {})
    with pytest.raises(KeyboardInterrupt):
        train(network(), loader(), loader(), TASK, config(), run=run, observe=stop)
    best = (tmp_path / "best.safetensors").read_bytes()
    trained = train(network(), loader(), loader(), TASK, config(), run=run)
    assert (tmp_path / "best.safetensors").read_bytes() == best
    assert trained.best["epoch"] == 1


def test_failures_are_named() -> None:
    with pytest.raises(NaspError, match="The loss became"):
        train(network(), loader(), loader(), TASK, config(lr=1e30, clip=None, epochs=9))
    with pytest.raises(UsageError, match="The training loader gives no batch"):
        train(network(), [], loader(), TASK, config())
    with pytest.raises(NaspError, match="nothing to evaluate"):
        train(network(), loader(), [], TASK, config())
