"""`nasp.train`: any module, or what a search found, by the loop of the commands."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.classification import MulticlassF1Score

import nasp
from nasp.errors import UsageError
from nasp.runs.folder import load_tensors
from nasp.runs.interruption import Interrupted
from nasp.training.events import Event, Stepped

EPOCHS, STEPS = 3, 4


def batches(seed: int, count: int = STEPS) -> list[tuple[Tensor, Tensor]]:
    make = torch.Generator().manual_seed(seed)
    batch = [torch.randn(8, 5, generator=make) for _ in range(count)]
    return [(x, x[:, :3].argmax(1)) for x in batch]


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))


def train(**settings: Any) -> Any:
    return nasp.train(network(), batches(0), batches(1), **{"epochs": EPOCHS, **settings})


def test_it_trains_as_torch_would() -> None:
    data = batches(0)
    trained = nasp.train(network(), data, epochs=EPOCHS, lr=0.1, weight_decay=0.0, clip=None)
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS, eta_min=0.001)
    for _ in range(EPOCHS):
        for x, y in data:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(x), y).backward()
            optimizer.step()
        schedule.step()
    states = net.state_dict(), trained.network.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert trained.metrics[-1]["train_loss"] < trained.metrics[0]["train_loss"]
    assert "val_loss" not in trained.metrics[0]


def test_metrics_are_of_whole_loaders_in_evaluation_mode() -> None:
    ragged = [*batches(1), *((x[:3], y[:3]) for x, y in batches(2, 1))]
    metrics = {"f1": MulticlassF1Score(3, average="macro"), "count": lambda output, _: len(output)}
    trained = nasp.train(network(), batches(0), ragged, epochs=2, metrics=metrics)
    net = trained.network
    assert net.training
    net.eval()
    with torch.no_grad():
        output = torch.cat([net(x) for x, _ in ragged])
    target = torch.cat([y for _, y in ragged])
    last = trained.last
    assert last["val_count"] == 8 * STEPS + 3
    expected = float(MulticlassF1Score(3, average="macro")(output, target))
    assert last["val_f1"] == pytest.approx(expected)
    assert last["val_loss"] == pytest.approx(float(nn.functional.cross_entropy(output, target)))
    assert last["val_accuracy"] == pytest.approx(float((output.argmax(1) == target).float().mean()))
    assert trained.name == "val_accuracy"


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "adamw": {"optimizer": "adamw", "lr": 1e-2, "warmup_steps": 3},
    "stopping": {"callbacks": ["val_loss"]},
    "module loss": {"task": nn.CrossEntropyLoss(label_smoothing=0.1), "accumulate": 2},
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("stop", [(1, 2), (3, 4)])
def test_a_stopped_training_goes_on_to_the_same_bits(
    way: str, stop: tuple[int, int], tmp_path: Path
) -> None:
    def observe(event: Event) -> None:
        if isinstance(event, Stepped) and (event.epoch, event.step) == stop:
            os.kill(os.getpid(), 15)

    def settings() -> dict[str, Any]:
        watched = WAYS[way].get("callbacks", [])
        return {**WAYS[way], "callbacks": [nasp.callbacks.EarlyStopping(name) for name in watched]}

    whole = train(run=tmp_path / "whole", **settings())
    with pytest.raises(Interrupted, match=r"nasp\.train\(\.\.\., run="):
        train(run=tmp_path / "run", observe=observe, **settings())
    again = train(run=tmp_path / "run", **settings())
    assert again.metrics == whole.metrics
    for name in ("weights.safetensors", "best.safetensors", "metrics.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    with pytest.raises(UsageError, match="holds a training with other settings"):
        train(run=tmp_path / "run", seed=5)


def test_the_best_epochs_weights_are_kept(tmp_path: Path) -> None:
    trained = train(run=tmp_path / "run", lr=0.3)
    net = network()
    net.load_state_dict(load_tensors(tmp_path / "run" / "best.safetensors"))
    net.eval()
    with torch.no_grad():
        accuracies = [float((net(x).argmax(1) == y).float().mean()) for x, y in batches(1)]
    assert sum(accuracies) / STEPS == pytest.approx(trained.best["val_accuracy"])


def test_what_a_search_found_is_trained() -> None:
    torch.manual_seed(2)
    choice = nasp.Choice({"linear": nn.Linear(5, 5), "skip": nn.Identity()})
    data = batches(0), batches(1)
    settings: dict[str, Any] = {"select": "train", "selection": {"epochs": 2}}
    found = nasp.search(nn.Sequential(choice, nn.Linear(5, 3)), *data, epochs=1, **settings)
    for weights in ("fresh", "inherit", "trained"):
        trained = nasp.train(found, *data, weights=weights, epochs=1, lr=1e-9)
        states = trained.network.state_dict(), found.build(weights).state_dict()
        for name in states[0]:
            torch.testing.assert_close(states[0][name], states[1][name], atol=1e-6, rtol=0)
    assert nasp.train(found, *data, epochs=1).metrics[0]["val_loss"] > 0


def test_a_stream_and_a_task_of_ones_own() -> None:
    class Stream(torch.utils.data.IterableDataset[Any]):
        def __iter__(self) -> Any:
            while True:
                yield torch.ones(5), torch.zeros(1)

    class Own:
        figure = nasp.Figure("error", higher_is_better=False)

        def loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
            loss = (network(batch[0]) - batch[1]).square().mean()
            return loss, {"error": loss.detach().sqrt()}

    loader = torch.utils.data.DataLoader(Stream(), batch_size=4)
    val = [(torch.ones(4, 5), torch.zeros(4, 1))] * 2
    net = nn.Linear(5, 1)
    trained = nasp.train(net, loader, val, task=Own(), epochs=2, epoch_steps=3)
    assert trained.name == "val_error"
    assert trained.best["val_error"] == min(line["val_error"] for line in trained.metrics)
    with pytest.raises(UsageError, match="or epoch_steps"):
        nasp.train(net, loader, val, task=Own())
    regression = nasp.train(net, val, val, task=nn.MSELoss(), epochs=1)
    assert regression.name == "val_loss"


def test_lazy_modules_take_shape_from_the_first_batch() -> None:
    torch.manual_seed(1)
    lazy = nn.Sequential(nn.LazyLinear(16), nn.ReLU(), nn.LazyLinear(3))
    trained = nasp.train(lazy, batches(0), batches(1), epochs=1)
    assert trained.network.state_dict()["0.weight"].shape == (16, 5)


def test_a_callback_stops_a_training() -> None:
    def stop(event: Event) -> bool:
        return isinstance(event, Stepped) and event.epoch == 2

    assert len(train(callbacks=[stop]).metrics) == 2


@pytest.mark.parametrize("name", ["auxiliary", "strategy", "epoch"])
def test_settings_that_are_not(name: str) -> None:
    with pytest.raises(UsageError, match=f"Setting '{name}' of the training: there is no such"):
        train(**{name: 1})
