"""Larger networks beside the found one: which are proposed, and what trainings make of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import nasp
from nasp.bilevel.decision import is_left_to_trainings
from nasp.bilevel.found import SEARCH, SELECTION
from nasp.bilevel.larger import Larger
from nasp.bilevel.selection import SelectConfig
from nasp.bilevel.settings import SearchConfig
from nasp.complexity import parameter_count
from nasp.complexity.config import ComplexityConfig
from nasp.complexity.control import Complexity
from nasp.complexity.store import Store
from nasp.complexity.target import Target
from nasp.runs.folder import RunFolder
from nasp.runs.interruption import Interrupted
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet
from nasp.training.events import Event, Started

WIDTH = 6


def layers(count: int) -> nn.Module:
    return nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(count)))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*(choice() for _ in range(3)), nn.Linear(WIDTH, 2))


def choice() -> nasp.Choice:
    plain = {"skip": nn.Identity(), "tanh": nn.Tanh()}
    return nasp.Choice({**plain, "one": layers(1), "three": layers(3)})


def complexity(supernet: Supernet, **bounds: Any) -> Complexity:
    def target() -> Target:
        x = torch.ones(1, WIDTH)
        return Target("it", supernet, lambda: supernet(x), lambda a: derive(supernet, a))

    return Complexity(supernet, ComplexityConfig(**bounds), target, target, 5, Store(None))


def larger(**bounds: Any) -> Larger:
    """Return what larger networks are proposed beside all-skip, which the scores put first."""
    supernet = Supernet(network())
    costs = complexity(supernet, **bounds)
    scores = {n: torch.tensor([[1.0, 0.9, 0.6, 0.2]]) for n in supernet.alphas}
    return Larger(costs, scores, supernet.architecture((0, 0, 0)))


def sizes(proposed: list[nasp.Architecture]) -> list[int]:
    supernet = Supernet(network())
    rest = parameter_count(nn.Linear(WIDTH, 2))
    layer = parameter_count(nn.Linear(WIDTH, WIDTH))
    counts = [parameter_count(derive(supernet, each)) - rest for each in proposed]
    return [count // layer for count in counts]


def test_the_found_one_the_largest_and_the_best_of_sizes_between() -> None:
    assert sizes(larger().propose(1)) == [0]
    assert sizes(larger().propose(2)) == [0, 9]
    assert sizes(larger().propose(3)) == [0, 9, 5]  # 4.5 is the middle
    assert sizes(larger().propose(4)) == [0, 9, 3, 6]
    assert larger().propose(9) == larger().propose(4)
    of_three = larger().propose(4)[2]
    assert sorted(map(str, of_three.edges.values())) == ["skip", "skip", "three"]  # 2.2 before 1.8


def test_bounds_are_kept_and_what_is_the_largest_already_stands_alone() -> None:
    layer = parameter_count(nn.Linear(WIDTH, WIDTH))
    rest = parameter_count(nn.Linear(WIDTH, 2))
    bounded = larger(at_most={"parameters": 4 * layer + rest})
    assert sizes(bounded.propose(2)) == [0, 4]
    assert max(sizes(bounded.propose(9))) == 4
    there = Larger(bounded.complexity, bounded.scores, bounded.largest())
    assert there.propose(5) == [bounded.largest()]


def batches(is_deep: bool) -> list[list[tuple[Tensor, Tensor]]]:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(512, WIDTH, generator=generator)
    y = (x[:, 0] > 0).long() if is_deep else torch.randint(2, (512,), generator=generator)
    pairs = [(x[i : i + 32], y[i : i + 32]) for i in range(0, 512, 32)]
    return [pairs[:8], pairs[8:]]


def search(run: Path | None = None, observe: Any = None, **settings: Any) -> nasp.Found:
    given = {"epochs": 4, "seed": 0, "selection": {"epochs": 8}, "fallback": "train", **settings}
    watched = {} if observe is None else {"observe": observe}
    return nasp.search(network(), *batches(False), run=run, **watched, **given)


@pytest.fixture(scope="module")
def doubtful(tmp_path_factory: pytest.TempPathFactory) -> nasp.Found:
    """Return what is found on labels that are drawn, where short trainings decide."""
    return search(tmp_path_factory.mktemp("doubtful") / "run")


def test_where_the_search_does_not_know_short_trainings_decide(
    doubtful: nasp.Found,
) -> None:
    assert len(doubtful.metrics) == 3  # trainings have the last quarter of its time
    last = doubtful.metrics[-1]
    assert last["knows"] is False
    assert any("so it ends here, and short trainings decide" in each for each in last["warnings"])
    assert doubtful.decided_by == SELECTION
    selection = doubtful.selection
    assert selection is not None
    assert selection.winner == doubtful.architecture
    there = [contender.architecture for contender in selection.contenders]
    assert nasp.Architecture(last["architecture"]) in there
    assert nasp.Architecture(dict.fromkeys(("0", "1", "2"), "three")) in there
    assert sum(rung.networks * rung.epochs for rung in selection.schedule) == 2
    assert doubtful.run is not None
    assert json.loads((doubtful.run / "architecture.json").read_text())["decided_by"] == SELECTION
    first = selection.contenders[0]
    ahead = max(each.rungs[-1]["score"] for each in selection.contenders) - first.rungs[-1]["score"]
    assert first.stands  # the labels are drawn: none is better, and what was found is kept
    assert 0 < ahead < 2 * first.rungs[-1]["score_error"]
    assert dict(doubtful.architecture.edges) == last["architecture"]
    child = doubtful.build("trained")
    assert parameter_count(child) == parameter_count(doubtful.build())


@pytest.mark.parametrize(
    ("searched", "trained", "first_rung"), [(1, 2, 1), (23, 2, 1), (24, 3, 1), (200, 12, 3)]
)
def test_trainings_take_an_epoch_to_every_eighth_of_the_search(
    searched: int, trained: int, first_rung: int
) -> None:
    selection = SelectConfig(epochs=12, first_rung=3)
    short = SearchConfig(epochs=searched, selection=selection).fallback_selection()
    assert (short.epochs, short.first_rung) == (trained, first_rung)


@pytest.mark.parametrize(
    ("fallback", "knows", "epoch", "epochs", "ends"),
    [
        ("train", False, 37, 50, False),
        ("train", False, 38, 50, True),
        ("train", False, 45, 50, True),
        ("train", True, 38, 50, False),
        ("train", None, 50, 50, False),
        ("largest", False, 38, 50, False),
        ("none", False, 50, 50, False),
        ("train", False, 2, 3, False),
    ],
)
def test_only_a_search_that_does_not_know_gives_its_last_quarter_away(
    fallback: Any, knows: bool | None, epoch: int, epochs: int, ends: bool
) -> None:
    config = SearchConfig(fallback=fallback)
    assert is_left_to_trainings(config, knows, epoch, epochs) is ends


def test_a_doubtful_search_that_is_at_the_largest_goes_on_for_nothing_would_be_trained() -> None:
    found = search(seed=2)
    assert [line["knows"] for line in found.metrics] == [False] * 4
    assert set(found.metrics[2]["architecture"].values()) == {"three"}
    assert set(found.metrics[3]["architecture"].values()) != {"three"}
    assert found.decided_by == SELECTION


def test_asked_to_decide_itself_it_does_in_all_of_its_time(doubtful: nasp.Found) -> None:
    alone = search(fallback="none", selection={})
    assert alone.decided_by == SEARCH
    assert alone.selection is None
    assert len(alone.metrics) == 4
    assert alone.metrics[2]["architecture"] == doubtful.metrics[-1]["architecture"]


def test_a_search_that_ended_in_doubt_goes_on_where_it_is_given_epochs(tmp_path: Path) -> None:
    short = search(tmp_path / "run")
    assert len(short.metrics) == 3
    folder = RunFolder.open(tmp_path / "run")
    folder.extend(8, begun=4)
    longer = search(tmp_path / "run")
    assert [line["epoch"] for line in longer.metrics] == [1, 2, 3, 4, 5, 6]


def test_stopped_in_its_trainings_it_goes_on_to_the_same_bits(
    doubtful: nasp.Found, tmp_path: Path
) -> None:
    def stop(event: Event) -> None:
        if isinstance(event, Started) and event.phase != "epoch":
            raise Interrupted("stopped by the test")

    with pytest.raises(Interrupted):
        search(tmp_path / "run", observe=stop)
    again = search(tmp_path / "run")
    assert again.architecture == doubtful.architecture
    assert doubtful.run is not None
    for name in ("selection.json", "architecture.json", "weights.safetensors", "metrics.jsonl"):
        assert (again.run / name).read_bytes() == (doubtful.run / name).read_bytes()


def test_at_a_target_of_cost_what_size_is_worth_is_not_asked() -> None:
    layer = parameter_count(nn.Linear(WIDTH, WIDTH))
    found = search(target={"params": 4 * layer + parameter_count(nn.Linear(WIDTH, 2))}, within=0.1)
    assert found.metrics[-1]["size_tau"] is None
