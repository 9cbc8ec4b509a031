"""BatchNorm's statistics of a built network: those of its own path."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import nasp
from nasp.supernet.derive import derive
from nasp.training.recalibration import Recalibration
from nasp.training.recipe import Recipe
from nasp.training.supervised import Supervised


def digits(start: int, end: int) -> TensorDataset:
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[start:end]
    images = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8)[order] / 16
    return TensorDataset(images, torch.tensor(labels)[order])


def conv(kernel: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(16, 16, kernel, padding=kernel // 2, bias=False), nn.BatchNorm2d(16), nn.ReLU()
    )


def convolutional() -> nn.Module:
    edges = [
        nasp.Choice({**{f"c{k}": conv(k) for k in (1, 3, 5)}, "skip": nn.Identity()})
        for _ in range(4)
    ]
    stem = nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16)
    return nn.Sequential(*stem, *edges, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))


def dense() -> nn.Module:
    def block(width: int) -> nn.Module:
        layers = nn.Linear(32, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Linear(width, 32)
        return nn.Sequential(*layers, nn.BatchNorm1d(32))

    edges = [nasp.Choice({"8": block(8), "64": block(64), "no": nasp.Zero()}) for _ in range(3)]
    node = nasp.Node(edges, keep=2)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.node, self.head = nn.Linear(64, 32), node, nn.Linear(32, 10)

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x.flatten(1))
            return self.head(self.node(x, x.relu(), x.tanh()))

    return Net()


def with_dropout() -> nn.Module:
    network = convolutional()
    network.insert(2, nn.Dropout(0.3))
    return network


@pytest.mark.parametrize("make", [convolutional, dense, with_dropout])
def test_a_built_network_is_as_good_as_its_search_said(make: Any) -> None:
    torch.manual_seed(0)
    halves = digits(0, 700), digits(700, 1400)
    loaders = [DataLoader(half, 32, shuffle=True, drop_last=True) for half in halves]
    found = nasp.search(make(), *loaders, lr=0.05, epochs=4, strategy="darts")
    images, labels = digits(1400, 1797).tensors

    def accuracy(network: nn.Module) -> float:
        with torch.no_grad():
            return float((network.eval()(images).argmax(1) == labels).float().mean())

    reported, built = found.metrics[-1]["val_accuracy"], found.build()
    assert accuracy(built) > reported - 0.06
    again = found.build("inherit", data=loaders[0]).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in built.state_dict().items())
    other = found.build(data=loaders[1])
    assert accuracy(other) > reported - 0.06
    stale = derive(found.supernet, found.architecture)
    assert all(map(torch.equal, built.parameters(), stale.parameters()))
    if make is convolutional:
        assert accuracy(stale) < accuracy(built) - 0.05


class Counting(nn.Module):
    """Has a state of its own that a forward pass moves."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3, momentum=0.3)
        self.never = nn.BatchNorm1d(3)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(3, 2)
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.passes += 1
        return self.head(self.dropout(self.norm(x)))


class Drawing:
    """A loader that draws from every global generator."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(3):
            x = torch.randn(4, 3) + random.random() + np.random.rand()
            yield x, torch.zeros(4, dtype=torch.int64)


def test_nothing_else_changes() -> None:
    network = Counting()
    network.never.running_mean.fill_(7)
    network.dropout.eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    Recalibration(Drawing(), Supervised(), Recipe(seed=3))(network)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]
    assert [module.training for module in network.modules()] == modes
    assert network.norm.momentum == 0.3
    changed = {n for n, t in network.state_dict().items() if not torch.equal(t, before[n])}
    assert changed == {f"norm.{n}" for n in ("running_mean", "running_var", "num_batches_tracked")}
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_statistics_are_the_mean_of_the_batches() -> None:
    batches = [(torch.randn(5, 3) * k, torch.zeros(5, dtype=torch.int64)) for k in range(1, 4)]
    network = Counting()
    Recalibration(batches, Supervised(), Recipe())(network)
    mean = torch.stack([x.mean(0) for x, _ in batches]).mean(0)
    variance = torch.stack([x.var(0) for x, _ in batches]).mean(0)
    torch.testing.assert_close(network.norm.running_mean, mean)
    torch.testing.assert_close(network.norm.running_var, variance)


def test_without_data_a_sentence_and_without_batch_norm_no_pass() -> None:
    network = Counting()
    before = network.norm.running_mean.clone()
    recalibrate = Recalibration([], Supervised(), Recipe())
    with pytest.warns(UserWarning, match=r"statistics of this network are those of all paths .*"):
        recalibrate(network)
    assert torch.equal(network.norm.running_mean, before)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        recalibrate(nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2, track_running_stats=False)))
