"""What may be given as a task: losses of any make, tasks, and weights that are a loss's own."""

from __future__ import annotations

import copy
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import nasp
from nasp.errors import UsageError
from nasp.runs.interruption import Interrupted
from nasp.training.events import Event, Stepped
from nasp.training.supervised import as_task


def batches(count: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    make = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(8, 5, generator=make), torch.randint(3, (8,), generator=make))
        for _ in range(count)
    ]


def network() -> nn.Module:
    torch.manual_seed(1)
    choice = nasp.Choice({"linear": nn.Linear(5, 5), "skip": nn.Identity()})
    return nn.Sequential(choice, nn.Linear(5, 3))


def search(task: Any, **settings: Any) -> nasp.Found:
    return nasp.search(network(), batches(3), batches(3, 1), task=task, epochs=2, **settings)


class Focal(nn.Module):
    """Has a loss as an attribute, and is one."""

    def __init__(self) -> None:
        super().__init__()
        self.loss = nn.CrossEntropyLoss(reduction="none")

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        each: Tensor = self.loss(output, target)
        return ((1 - torch.exp(-each)) ** 2 * each).mean()


def scaled(output: Tensor, target: Tensor) -> Tensor:
    return 2 * nn.functional.cross_entropy(output, target)


class Scaled:
    """A callable with a number of that name."""

    loss = 2.0

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        return scaled(output, target)


@pytest.mark.parametrize("loss", [Focal(), Scaled()])
def test_a_loss_with_an_attribute_loss_is_a_loss(loss: Any) -> None:
    found = search(loss)
    assert found.metrics == search(lambda output, target: loss(output, target)).metrics
    assert "train_accuracy" in found.metrics[0]


def test_an_object_that_could_be_both_is_refused_and_says_how() -> None:
    class Both(nn.Module):
        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            return nn.functional.cross_entropy(output, target)

        def forward(self, output: Tensor, target: Tensor) -> Tensor:
            return self.loss(output, target)

    with pytest.raises(UsageError, match=r"Both can be called and has a method loss"):
        search(Both())
    assert search(nasp.Supervised(Both())).metrics == search(None).metrics

    class Derived(nasp.Task):
        def loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
            return nasp.Supervised().loss(network, batch)

        def __call__(self) -> None: ...

    assert search(Derived()).metrics == search(None).metrics


@pytest.mark.parametrize("task", [3, "cross_entropy", nn.CrossEntropyLoss, object()])
def test_what_is_no_task_is_refused(task: Any) -> None:
    with pytest.raises(UsageError, match="is neither"):
        search(task)


class Uncertain(nn.Module):
    """A loss whose two weights are learnt (Kendall et al. 2018)."""

    def __init__(self) -> None:
        super().__init__()
        self.log_variance = nn.Parameter(torch.ones(1))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        error = nn.functional.cross_entropy(output, target)
        return (error * torch.exp(-self.log_variance) + self.log_variance).sum()


class UncertainTask(nn.Module):
    """The same as a task that is a module."""

    def __init__(self) -> None:
        super().__init__()
        self.criterion = Uncertain()

    def loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        return nasp.Supervised(self.criterion).loss(network, batch)


def test_the_parameters_of_a_loss_are_trained_by_the_weights_optimiser() -> None:
    loss, task = Uncertain(), UncertainTask()
    assert search(loss).metrics == search(task).metrics
    assert loss.log_variance != 1
    assert torch.equal(loss.log_variance, task.criterion.log_variance)
    # One step by hand: SGD with weight decay moves it as every other weight.
    net, one, lr = network(), Uncertain(), 0.025
    settings: dict[str, Any] = {"lr": lr, "weight_decay": 0.1, "clip": None, "epochs": 1}
    data = batches(1)
    by_hand, twin = copy.deepcopy(net), Uncertain()
    found = nasp.search(net, data, batches(1, 1), task=one, uniform=0.0, **settings)
    chosen = nasp.Supernet(by_hand)
    chosen.single(chosen.path(found.architecture))
    twin(by_hand(data[0][0]), data[0][1]).backward()
    assert twin.log_variance.grad is not None
    expected = 1 - lr * (twin.log_variance.grad + 0.1)
    torch.testing.assert_close(one.log_variance.data, expected)


def test_a_loss_with_weights_resumes_to_the_same_bits(tmp_path: Path) -> None:
    whole = Uncertain()
    search(whole, run=tmp_path / "whole", select="train", selection={"epochs": 2})

    def stop(event: Event) -> None:
        if isinstance(event, Stepped) and (event.epoch, event.step) == (2, 1):
            os.kill(os.getpid(), 15)

    settings: dict[str, Any] = {"run": tmp_path / "run", "select": "train"}
    with pytest.raises(Interrupted):
        search(Uncertain(), observe=stop, selection={"epochs": 2}, **settings)
    again = Uncertain()
    search(again, selection={"epochs": 2}, **settings)
    assert torch.equal(again.log_variance, whole.log_variance)
    for name in ("metrics.jsonl", "selection.json", "weights.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_every_network_of_a_selection_starts_with_the_loss_as_it_was() -> None:
    def trained(loss: nn.Module) -> list[Any]:
        settings: dict[str, Any] = {"select": "train", "selection": {"epochs": 4}}
        found = search(loss, lr=0.1, uniform=0.5, settings={"lr": 0.1}, **settings)
        assert found.selection is not None
        return [each.rungs for each in found.selection.contenders]

    loss = Uncertain()
    assert trained(loss) == trained(Uncertain())
    # What the selection trained is not what the search left.
    alone = Uncertain()
    search(alone, lr=0.1, uniform=0.5, settings={"lr": 0.1})
    assert torch.equal(loss.log_variance, alone.log_variance)


def test_parameters_that_nobody_trains_are_named() -> None:
    class Distilling:
        def __init__(self) -> None:
            self.teacher = nn.Linear(5, 3)

        def loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
            return (network(batch[0]) - self.teacher(batch[0])).square().mean(), {}

    task = Distilling()
    with pytest.warns(UserWarning, match=r"No step trains the parameters of Distilling\.teacher"):
        as_task(task)
    task.teacher.requires_grad_(False)
    assert as_task(task) is task


def test_the_callers_random_states_are_as_they_were(tmp_path: Path) -> None:
    def draws() -> list[float]:
        return [random.random(), float(np.random.rand()), float(torch.rand(()))]

    def seed() -> None:
        random.seed(5)
        np.random.seed(6)
        torch.manual_seed(7)

    seed()
    expected = [draws() for _ in range(2)]
    environment = dict(os.environ)
    seed()
    assert draws() == expected[0]
    state = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # type: ignore[union-attr]
    net = network()
    torch.set_rng_state(state[0])
    nasp.search(net, batches(2), batches(2, 1), epochs=1, select="train", selection={"epochs": 2})
    assert draws() == expected[1]
    with pytest.raises(nasp.NaspError):
        nasp.search(network(), [(torch.full((2, 5), torch.nan), torch.zeros(2).long())], batches(1))
    seed()
    run: dict[str, Any] = {"epochs": 1, "run": tmp_path / "run"}
    for _ in range(2):  # a resumed run restores those of its checkpoint, and then the caller's
        net, before = network(), torch.get_rng_state()
        nasp.search(net, batches(2), batches(2, 1), **run)
        assert torch.equal(torch.get_rng_state(), before)
    assert dict(os.environ) == environment
