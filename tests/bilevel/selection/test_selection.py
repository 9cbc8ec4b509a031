"""The selection through `nasp.search`: who wins, what is kept, and that a stop costs nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import nasp
from nasp.bilevel.found import Found
from nasp.errors import NaspError, UsageError
from nasp.runs.folder import RunFolder
from nasp.strategies import STRATEGIES
from nasp.training.events import Event, Started, Stepped

WIDTH = 4


class Scale(nn.Module):
    """Multiplies by a constant: a path whose loss is known."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return self.factor * x


def network() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(WIDTH, 8),
        nasp.Choice(
            {"deep": nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)), "skip": nn.Identity()}
        ),
        nasp.Choice({"wide": nn.Linear(8, 8), "tanh": nn.Tanh(), "none": nasp.Zero()}),
        nn.Dropout(0.1),
        nn.Linear(8, 3),
    )


def loader(count: int = 40, seed: int = 0, own: bool = False) -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count, WIDTH, generator=generator)
    y = torch.randint(3, (count,), generator=generator)
    shuffling = torch.Generator().manual_seed(seed) if own else None
    return DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True, generator=shuffling)


def searched(**settings: Any) -> Found:
    chosen: dict[str, Any] = {
        "epochs": 2,
        "settings": {"lr": 1.0},  # so far that it flips
        "selection": {"epochs": 8, "candidates": 5},
        **settings,
    }
    return nasp.search(network(), loader(), loader(30, 1, own=True), **chosen)


def test_reranking_finds_the_path_with_the_lowest_loss() -> None:
    # The output is a·b·x and the target 6x: the loss of each path is known to the last bit.
    factors = {"one": 1.0, "two": 2.0, "three": 3.0}

    def choice() -> nasp.Choice:
        return nasp.Choice({name: Scale(factor) for name, factor in factors.items()})

    net = nn.Sequential(choice(), choice(), nn.Linear(1, 1, bias=False))
    net[2].weight.data.fill_(1.0)
    x = torch.linspace(-1, 1, 24).unsqueeze(1)
    batches = [(x[i : i + 5], 6 * x[i : i + 5]) for i in range(0, 24, 5)]
    found = nasp.search(
        net,
        batches,
        batches,
        task=F.mse_loss,
        epochs=1,
        lr=1e-12,  # the last layer stays as it is
        strategy="random-sharing",
        select="rerank",
        selection={"candidates": 9, "rerank_batches": None},
    )
    assert found.selection is not None
    assert len(found.selection.contenders) == 9
    for contender in found.selection.contenders:
        a, b = (factors[name or ""] for name in contender.architecture.edges.values())
        assert contender.shared is not None
        # The last batch is smaller than the others; every example weighs the same.
        expected = (a * b - 6) ** 2 * float((x**2).mean())
        assert contender.shared["loss"] == pytest.approx(expected, rel=1e-5, abs=1e-9)
        assert contender.shared["score"] == -contender.shared["loss"]
    assert set(found.architecture.edges.values()) == {"two", "three"}
    losses = [c.shared["loss"] for c in found.selection.contenders if c.shared]
    assert losses == sorted(losses)


def test_training_finds_the_only_candidate_that_can_learn() -> None:
    # Exclusive or of two signs: without the hidden layer it cannot be had.
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(256, 2, generator=generator)
    y = (x[:, 0] * x[:, 1] > 0).long()
    batches = [(x[i : i + 16], y[i : i + 16]) for i in range(0, 128, 16)]
    val = [(x[i : i + 16], y[i : i + 16]) for i in range(128, 256, 16)]
    hidden = nn.Sequential(nn.Linear(2, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 2))
    torch.manual_seed(0)
    net = nn.Sequential(
        nasp.Choice({"none": nasp.Zero(), "linear": nn.Linear(2, 2), "hidden": hidden}),
        nn.Linear(2, 2),
    )
    found = nasp.search(
        net,
        batches,
        val,
        strategy="random",
        select="train",
        lr=0.1,
        selection={"epochs": 24},
    )
    assert found.architecture.edges == {"0": "hidden"}
    assert found.selection is not None
    best, *others = found.selection.contenders
    assert best.rungs[-1]["accuracy"] > 0.9
    assert len(others) == 2
    assert all(other.rungs[-1]["accuracy"] < 0.75 for other in others)
    assert all(contender.shared is None for contender in found.selection.contenders)


@pytest.mark.parametrize("mode", ["none", "rerank", "train"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_under_every_selection(name: str, mode: str) -> None:
    iterative = STRATEGIES[name].iterative
    settings: dict[str, Any] = {"strategy": name, "select": mode, "settings": {}}
    settings["fallback"] = "none"
    if mode == "rerank" and not iterative:
        with pytest.raises(UsageError, match="trains no shared weights"):
            searched(**settings)
        return
    found = searched(**settings)
    assert len(found.metrics) == (2 if iterative else 1)
    if mode == "none" and not STRATEGIES[name].ranks_by_weights:
        assert found.selection is None
    else:
        assert found.selection is not None
        assert found.selection.winner == found.architecture
        architectures = [contender.architecture for contender in found.selection.contenders]
        assert len(set(architectures)) == len(architectures)
        if mode == "train" and len(architectures) > 1:
            assert found.selection.contenders[0].rungs
    supernet, child = found.supernet, found.build("inherit")
    supernet.single(supernet.path(found.architecture))
    x = torch.randn(5, WIDTH)
    for module in [*child.modules(), *supernet.modules()]:
        module.training = isinstance(module, nn.BatchNorm1d)  # its statistics are the child's own
    assert torch.equal(child(x), supernet(x))


def kept(path: Path) -> dict[str, bytes]:
    names = ["architecture.json", "selection.json", "weights.safetensors", "metrics.jsonl"]
    parts = sorted(str(p.relative_to(path)) for p in path.glob("selection/**/metrics.jsonl"))
    return {n: (path / n).read_bytes() for n in [*names, *parts] if (path / n).exists()}


@pytest.mark.parametrize(
    "settings",
    [
        {"strategy": "nasp"},
        {
            "strategy": "random-sharing",
            "settings": {},
            "selection": {"epochs": 8, "weights": "inherit"},
        },
        {"strategy": "random", "settings": {}},
    ],
)
@pytest.mark.parametrize("minutes", [5.0, 1e-9])
def test_stopped_anywhere_it_ends_to_the_same_bits(
    tmp_path: Path, settings: dict[str, Any], minutes: float
) -> None:
    settings = {"select": "train", "checkpoint_minutes": minutes, **settings}
    whole = searched(run=tmp_path / "whole", **settings)
    stopped = tmp_path / "stopped"
    stops = 0

    class Stop(Exception):  # noqa: N818
        pass

    while not (stopped / "architecture.json").exists():
        left = [7]

        def observe(event: Event, left: list[int] = left) -> None:
            left[0] -= isinstance(event, Stepped)
            if left[0] == 0:
                raise Stop

        try:
            found = searched(run=stopped, observe=observe, **settings)
        except Stop:
            stops += 1
    assert stops > 5
    assert kept(stopped) == kept(tmp_path / "whole")
    assert len(kept(stopped)) >= 5
    assert found.selection == whole.selection
    assert found.architecture == whole.architecture
    # A finished one is only read again.
    events: list[Event] = []
    again = searched(run=stopped, observe=events.append, **settings)
    assert all(isinstance(event, Started) for event in events)
    assert again.selection == whole.selection
    assert kept(stopped) == kept(tmp_path / "whole")


def test_the_selection_leaves_the_search_alone(tmp_path: Path) -> None:
    for mode in ("none", "rerank", "train"):
        searched(select=mode, run=tmp_path / mode)
    runs = {mode: kept(tmp_path / mode) for mode in ("none", "rerank", "train")}
    for mode in ("rerank", "train"):
        assert runs[mode]["weights.safetensors"] == runs["none"]["weights.safetensors"]


def test_the_table_in_the_run(tmp_path: Path) -> None:
    found = searched(select="train", run=tmp_path)
    assert found.selection is not None
    table = RunFolder.open(tmp_path).selection()
    assert table == json.loads(json.dumps(found.selection.as_dict()))
    assert table is not None
    assert table["contenders"][0]["edges"] == dict(found.architecture.edges)
    places = [len(contender["rungs"]) for contender in table["contenders"]]
    assert places == sorted(places, reverse=True)
    assert sum(r["networks"] * r["epochs"] for r in table["schedule"]) <= 8
    trained = [p.read_text() for p in (tmp_path / "selection/train").glob("*/metrics.jsonl")]
    assert len(trained) == table["schedule"][0]["networks"]
    lines = sum(text.count("\n") for text in trained)
    assert lines == sum(r["networks"] * r["epochs"] for r in table["schedule"])


def test_one_seed_gives_the_same_selection() -> None:
    one, same, other = (searched(select="train", seed=seed) for seed in (0, 0, 1))
    assert one.selection == same.selection
    assert one.selection != other.selection


def test_a_network_that_diverges_loses_and_stops_nobody() -> None:
    class Explode(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor) -> Tensor:
            return x * (self.weight * 1e20) * 1e20

    def search(*names: str) -> Found:
        torch.manual_seed(0)
        candidates = {"fine": nn.Linear(WIDTH, 3), "wide": nn.Linear(WIDTH, 3)}
        exploding = {name: nn.Sequential(Explode(), nn.Linear(WIDTH, 3)) for name in names}
        chosen = {k: v for k, v in candidates.items() if len(names) < 3} | exploding
        net = nn.Sequential(nasp.Choice(chosen))
        return nasp.search(
            net, loader(), loader(), strategy="random", select="train", selection={"epochs": 12}
        )

    found = search("bad")
    assert found.selection is not None
    *fine, bad = found.selection.contenders
    assert bad.architecture.edges == {"0": "bad"}
    assert bad.rungs[-1] == {"score": -math.inf}
    assert found.selection.as_dict()["contenders"][-1]["rungs"] == [{"score": None}]
    assert [contender.rungs[-1]["score"] > 0 for contender in fine] == [True, True]
    with pytest.raises(NaspError, match="Every network of the selection diverged"):
        search("bad", "worse", "worst")


def test_a_path_without_weights_is_measured_as_it_is() -> None:
    net = nn.Sequential(nasp.Choice({"linear": nn.Linear(3, 3), "skip": nn.Identity()}))
    x = torch.randn(32, 3)
    batches = [(x[i : i + 8], x[i : i + 8].argmax(1)) for i in range(0, 32, 8)]
    found = nasp.search(
        net, batches, batches, strategy="random", select="train", selection={"epochs": 4}
    )
    assert found.architecture.edges == {"0": "skip"}
    assert found.selection is not None
    assert found.selection.contenders[0].rungs[0]["accuracy"] == 1.0


@pytest.mark.parametrize(("higher", "best"), [(True, "five"), (False, "one")])
def test_a_task_says_what_is_better(higher: bool, best: str) -> None:
    class Sized:
        def loss(self, net: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
            out = net(batch[0])
            return out.square().mean(), {"size": out.detach().abs().mean()}

        figure = nasp.Figure("size", higher_is_better=higher)

    net = nn.Sequential(
        nasp.Choice({"one": Scale(1.0), "five": Scale(5.0), "two": Scale(2.0)}),
        nn.Linear(WIDTH, 1),
    )
    found = nasp.search(
        net,
        loader(),
        loader(),
        task=Sized(),
        epochs=1,
        lr=1e-12,
        strategy="random-sharing",
        select="rerank",
    )
    assert found.architecture.edges == {"0": best}


def test_a_validation_loader_without_an_end() -> None:
    class Endless:
        def __iter__(self) -> Any:
            while True:
                yield torch.randn(8, WIDTH), torch.randint(3, (8,))

    for mode in ("rerank", "train"):
        found = nasp.search(
            network(),
            loader(),
            Endless(),
            epochs=1,
            select=mode,
            selection={"rerank_batches": None, "epochs": 2},
        )
        assert found.selection is not None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"select": "best"}, "Setting 'select' of search"),
        ({"selection": {"candidate": 3}}, r"Setting 'selection.candidate' of search: there is no"),
        ({"selection": {"epochs": 3, "first_rung": 2}}, "do not train two networks"),
        ({"strategy": "random", "settings": {}, "select": "rerank"}, "select 'train', or 'none'"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        searched(run=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()
