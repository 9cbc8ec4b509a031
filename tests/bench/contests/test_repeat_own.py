"""`nasp.repeat`: several seeds of a user's own module, beside chance, resumed, bounded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import nasp
from nasp.bench.contests.repeat.repeated import Repeated
from nasp.errors import UsageError
from nasp.runs.folder import RunFolder
from nasp.training.events import Event, Stepped

WIDTH = 4


class Net(nn.Module):
    """Has three choices; made anew it has other weights."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, 8)
        self.choices = nn.Sequential(*(self.choice() for _ in range(3)))
        self.last = nn.Linear(8, 3)

    def choice(self) -> nasp.Choice:
        deep = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))
        return nasp.Choice({"linear": nn.Linear(8, 8), "deep": deep, "skip": nn.Identity()})

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.last(self.choices(self.first(x)))
        return out


def loaders() -> tuple[DataLoader[Any], DataLoader[Any]]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, WIDTH, generator=generator)
    data = TensorDataset(x, (x[:, 0] * x[:, 1] > 0).long())
    order = torch.Generator().manual_seed(1)
    return (
        DataLoader(data, 8, shuffle=True, generator=order),
        DataLoader(data, 16, shuffle=True),
    )


def network() -> Net:
    torch.manual_seed(3)
    return Net()


def repeated(of: Any = Net, **settings: Any) -> Repeated:
    given = {"seeds": 3, "epochs": 2, "seed": 5, "settings": {"lr": 0.3}, **settings}
    return nasp.repeat(of, *loaders(), **given)


@pytest.fixture(scope="module")
def whole() -> Repeated:
    """Return a repeat that nothing disturbed, of one module."""
    return repeated(network())


def test_each_seed_is_what_a_search_finds_alone(whole: Repeated) -> None:
    assert whole.seeds == (5, 6, 7)
    for seed, found in zip(whole.seeds, whole.found, strict=True):
        settings: dict[str, Any] = {"epochs": 2, "seed": seed, "settings": {"lr": 0.3}}
        alone = nasp.search(network(), *loaders(), **settings)
        assert found.architecture == alone.architecture
        assert found.metrics == alone.metrics


def test_all_are_trained_under_one_budget_and_the_best_found_is_kept(whole: Repeated) -> None:
    entrants = [contender.architecture for contender in whole.selection.contenders]
    found = {each.architecture for each in whole.found}
    assert set(entrants) == found | set(whole.random)
    assert len(whole.random) == 3
    assert whole.selection.schedule[0].networks == len(entrants)
    assert whole.best.architecture == next(each for each in entrants if each in found)
    said = repr(whole)
    assert said.startswith(f"3 seeds found {len(found)} architecture")
    assert "found is better than random in" in said
    assert f"best: that of seed {whole.best_seed}" in said
    assert max(map(len, said.splitlines())) <= 120


def test_what_makes_a_module_gives_each_seed_its_own_weights(whole: Repeated) -> None:
    def first(several: Repeated) -> list[Tensor]:
        return [found.initial_weights["first.weight"] for found in several.found]

    same, other = first(whole), first(repeated(seeds=2, epochs=1, random=0))
    assert torch.equal(same[0], same[1])
    assert torch.equal(same[0], network().first.weight)
    assert not torch.equal(other[0], other[1])


def test_stopped_anywhere_it_ends_the_same(whole: Repeated, tmp_path: Path) -> None:
    class Stop(Exception):  # noqa: N818
        pass

    def observe(event: Event) -> None:
        nonlocal left
        left -= isinstance(event, Stepped)
        if left == 0:
            raise Stop

    run, stops, several = tmp_path / "run", 0, None
    while several is None:
        left = 19
        try:
            several = repeated(network(), run=run, observe=observe, checkpoint_minutes=1e-9)
        except Stop:
            stops += 1
            assert stops < 20
    assert stops > 3
    assert several.selection == whole.selection
    lines = [json.dumps([each.metrics for each in one.found]) for one in (several, whole)]
    assert lines[0] == lines[1]
    assert several.random == whole.random
    kept = nasp.Architecture.load(run / "architecture.json")
    assert kept == several.best.architecture
    assert sorted(path.name for path in run.glob("seed-*")) == ["seed-5", "seed-6", "seed-7"]
    with pytest.raises(UsageError, match="holds a repeat with other settings"):
        repeated(network(), run=run, seeds=4)
    with pytest.raises(UsageError, match="is not empty, and holds no repeat"):
        repeated(network(), run=run / "seed-5")
    with pytest.raises(UsageError, match=r"no config.json. Runs in it: seed-5, seed-6, seed-7\."):
        RunFolder.open(run)


def test_all_keep_the_bounds() -> None:
    several = repeated(at_most={"params": 250}, epochs=1, random=4)
    supernet = nasp.Supernet(network())
    for contender in several.selection.contenders:
        child = nasp.build(supernet.network, contender.architecture)
        assert sum(weight.numel() for weight in child.parameters()) <= 250


def test_a_random_network_that_wins_is_told_and_not_kept(whole: Repeated) -> None:
    found = {each.architecture for each in whole.found}
    others = [c for c in whole.selection.contenders if c.architecture not in found]
    ours = [c for c in whole.selection.contenders if c.architecture in found]
    assert others
    lost = replace(whole, selection=replace(whole.selection, contenders=(*others, *ours)))
    assert lost.better == others[0].architecture
    assert "a random network did better" in repr(lost)
    assert lost.best.architecture in found
    with pytest.raises(UsageError, match="No network was trained alone"):
        lost.best.build("trained")
    won = replace(whole, selection=replace(whole.selection, contenders=(*ours, *others)))
    assert (won.better, won.best.selection) == (None, won.selection)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": 1}, "seeds"),
        ({"budget": 5}, "5 epochs do not train 6 networks, 3 found and 3 random: give at least 6"),
        ({"devices": 2}, "A repeat has one device a search: leave out devices and nodes"),
        ({"epoch": 2}, "epoch"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        repeated(run=tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()
