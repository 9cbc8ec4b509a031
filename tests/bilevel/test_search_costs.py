"""A search that minds its complexity: any cost, bounds that hold, the same bits when resumed."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import nasp
from nasp.bilevel.found import Found
from nasp.bilevel.own import search
from nasp.bilevel.search_costs import bounds_of, searched_target
from nasp.complexity import parameter_count
from nasp.complexity.costs import flops, memory
from nasp.errors import UsageError
from nasp.runs.folder import RunFolder
from nasp.runs.interruption import Interrupted
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet
from nasp.training.batches import one_example
from nasp.training.events import Event, Stepped, Warned
from nasp.training.learner import Learner
from nasp.training.supervised import Supervised

X = torch.randn(1, 4)
DOWNHILL = {"optimizer": "sgd", "lr": 1e-3, "weight_decay": 0}


def layers(count: int) -> nn.Module:
    return nn.Sequential(
        *(nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Tanh()) for _ in range(count))
    )


def network() -> nn.Sequential:
    torch.manual_seed(3)
    inner = nasp.Choice({"one": layers(1), "two": layers(2)})
    choices = [
        nasp.Choice({"none": nasp.Zero(), "one": layers(1), "two": layers(2), "gate": inner}),
        nasp.Choice({"skip": nn.Identity(), "one": layers(1), "three": layers(3)}),
        nasp.Choice({"skip": nn.Identity(), "one": layers(1), "three": layers(3)}),
    ]
    return nn.Sequential(nn.Linear(4, 8), *choices, nn.Dropout(0.1), nn.Linear(8, 3))


def loader(count: int = 40, seed: int = 0) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 4, generator=generator)
    y = torch.randint(3, (count,), generator=generator)
    return DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True)


def searched(**settings: Any) -> Found:
    chosen: dict[str, Any] = {"epochs": 3, "settings": {"lr": 0.05}, **settings}
    return search(network(), loader(), loader(24, 1), **chosen)


@pytest.mark.parametrize("cost", ["parameters", "flops", "macs", "memory"])
def test_the_price_of_size(cost: str) -> None:
    found = searched(complexity=1000.0, cost=cost, settings=DOWNHILL)
    # Every edge ends with what costs least.
    assert dict(found.architecture.edges)["1"] == "none"
    assert [found.architecture[edge] for edge in ("2", "3")] == ["skip", "skip"]


def test_a_cost_of_ones_own() -> None:
    def dislikes_skips(operation: nn.Module, x: Tensor) -> float:
        assert x.shape == (1, 8)
        return 1.0 if isinstance(operation, nn.Identity | nasp.Zero) else 0.0

    found = searched(complexity=1000.0, cost=dislikes_skips, settings=DOWNHILL)
    assert "skip" not in found.architecture.edges.values()
    assert "none" not in found.architecture.edges.values()


def test_measuring_does_not_move_the_search() -> None:
    """With a weight of almost nothing, latency or parameters: all else is the same to the bit."""
    one = searched(complexity=1e-30)
    other = searched(complexity=1e-30, cost="flops", at_most={"params": 1e9})
    for line, again in zip(one.metrics, other.metrics, strict=True):
        assert line["train_loss"] == again["train_loss"]
        assert line["val_loss"] == again["val_loss"]


@pytest.mark.parametrize("strategy", ["nasp", "darts"])
@pytest.mark.parametrize("seed", range(3))
def test_bounds_are_kept(seed: int, strategy: str) -> None:
    settings: dict[str, Any] = {"seed": seed, "strategy": strategy}
    free = searched(**settings)
    unbound = parameter_count(free.build()), flops(free.build(), X)
    smallest = parameter_count(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3)))
    limit = smallest + 0.5 * (unbound[0] - smallest)
    found = searched(at_most={"params": limit, "flops": 0.7 * unbound[1] + 80}, **settings)
    child = found.build()
    assert parameter_count(child) <= limit
    assert flops(child, X) <= 0.7 * unbound[1] + 80
    params, operations = found.bounds
    assert (params.cost, params.reached) == ("parameters", parameter_count(child))
    assert (operations.cost, operations.reached) == ("flops", flops(child, X))
    assert params.network == "the searched network itself"
    assert set(found.metrics[-1]["multipliers"]) == {"parameters", "flops"}


def test_memory_is_bounded_on_the_network_itself() -> None:
    free = memory(searched().build(), X)
    found = searched(at_most={"memory": 0.8 * free})
    assert memory(found.build(), X) <= 0.8 * free


def test_what_was_changed_is_said(tmp_path: Path) -> None:
    said: list[str] = []

    def observe(event: Event) -> None:
        if isinstance(event, Warned):
            said.append(event.message)

    # The bound comes too late to be learned: the alphas hardly move.
    found = searched(at_most="params=110", settings={"lr": 1e-6}, run=tmp_path, observe=observe)
    assert parameter_count(found.build()) <= 110
    assert any("last iteration did not keep the bounds" in message for message in said)
    assert bounds_of(RunFolder.open(tmp_path)) == list(found.bounds)
    figures = json.loads((tmp_path / "costs.json").read_text())
    assert figures["bound: parameters"]["network"] == "the searched network itself"
    assert figures["bound: parameters"]["edges"]["2"] == {"skip": 0, "one": 88, "three": 264}


def test_a_bound_that_nothing_keeps_leaves_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(UsageError, match="the smallest possible is 67"):
        searched(at_most="params=66", run=folder)
    assert not folder.exists()
    assert searched(at_most="params=67", run=folder, epochs=1).bounds[0].reached == 67


def test_a_search_that_was_stopped_ends_the_same(tmp_path: Path) -> None:
    bounds = ["params=300", "latency=1s"]
    settings: dict[str, Any] = {"at_most": bounds, "complexity": 0.3, "cost": "latency"}
    steps = 0

    def stop(event: Event) -> None:
        nonlocal steps
        steps += isinstance(event, Stepped)
        if steps == 8:
            steps += 1
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted):
        searched(run=tmp_path / "stopped", observe=stop, **settings)
    # Another search with the same measured costs, which no two measurements would give.
    (tmp_path / "whole").mkdir()
    for name in ("costs.json", "config.json"):
        (tmp_path / "whole" / name).write_bytes((tmp_path / "stopped" / name).read_bytes())
    whole = searched(run=tmp_path / "whole", **settings)
    resumed = searched(run=tmp_path / "stopped", **settings)
    assert resumed.metrics == whole.metrics
    assert resumed.architecture == whole.architecture
    for one, two in zip(
        whole.supernet.state_dict().values(), resumed.supernet.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two)


def test_one_example_is_a_copy_of_the_first() -> None:
    batch = (torch.arange(6).view(3, 2), {"y": torch.arange(3), "scale": torch.tensor(2.0)})
    x, rest = one_example(batch)
    assert x.tolist() == [[0, 1]]
    assert rest["y"].tolist() == [0]
    assert float(rest["scale"]) == 2.0
    x.zero_()
    assert batch[0].tolist()[0] == [0, 1]
    uneven = (torch.zeros(3), torch.zeros(2))
    assert one_example(uneven) is uneven


def test_the_loader_and_the_random_state_stay_where_they_were() -> None:
    supernet = Supernet(network())
    learner = Learner(
        Fabric(accelerator="cpu", devices=1),
        supernet,
        Supervised(),
        supernet.weights(),
        lambda weights: torch.optim.SGD(weights, 0.1),
    )
    generator = torch.Generator().manual_seed(5)
    data = DataLoader(loader().dataset, batch_size=8, shuffle=True, generator=generator)
    states = torch.get_rng_state(), generator.get_state()
    target = searched_target(supernet, learner, data)
    calls = target.calls
    assert torch.equal(torch.get_rng_state(), states[0])
    assert torch.equal(generator.get_state(), states[1])
    assert calls[supernet.network][0].args[0].shape == (1, 4)


@pytest.mark.parametrize("strategy", ["nasp", "random"])
def test_a_selection_is_among_those_that_keep_the_bounds(strategy: str) -> None:
    selection = {"epochs": 3, "candidates": 6}
    settings = {} if strategy == "random" else {"lr": 0.05}
    found = search(
        network(),
        loader(),
        loader(24, 1),
        epochs=3,
        strategy=strategy,
        settings=settings,
        select="train",
        selection=selection,
        at_most="params=250",
    )
    assert found.selection is not None
    for contender in found.selection.contenders:
        child = derive(found.supernet, contender.architecture)
        assert parameter_count(child) <= 250
    assert found.bounds[0].reached == parameter_count(found.build())
    assert found.architecture == found.selection.winner
