"""Whether a search knows: the measure by closed forms, and what follows from it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import nasp
from nasp.bilevel.found import LARGEST, SEARCH, SELECTION
from nasp.bilevel.knowledge import AGREED, SEEN, SizeRank, kendall, knows
from nasp.bilevel.larger import by_size
from nasp.runs.folder import RunFolder
from nasp.supernet.supernet import Supernet


class Constant(nn.Module):
    """What has learned something of the labels alone."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(4))

    def forward(self, x: Tensor) -> Tensor:
        return self.value.expand_as(x)


class Sum(nn.Module):
    """Two edges side by side, and a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.edges = nn.ModuleList(
            nasp.Choice({"constant": Constant(), "linear": nn.Linear(4, 4), "deep": deep()})
            for _ in range(2)
        )
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.edges
        output: Tensor = self.head(first(x) + second(x))
        return output


def deep() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 4))


def network() -> nn.Module:
    torch.manual_seed(0)
    return Sum()


def scores(supernet: Supernet, *row: float) -> dict[str, Tensor]:
    return {name: torch.tensor([row]) for name in supernet.alphas}


def test_kendall_is_that_of_scipy_and_says_nothing_of_a_single_rank() -> None:
    torch.manual_seed(1)
    first, second = torch.randint(6, (2, 40)).double()
    expected = stats.kendalltau(first.numpy(), second.numpy()).statistic
    assert kendall(first, second) == pytest.approx(float(expected))
    assert kendall(first, torch.ones(40)) is None


def test_scores_that_follow_the_size_have_one_and_others_what_they_agree_in() -> None:
    supernet = Supernet(network())
    rank = SizeRank(supernet)
    counts = 4.0, 20.0, 220.0
    assert rank(scores(supernet, *counts)) == pytest.approx(1.0)
    assert rank(scores(supernet, *(-count for count in counts))) == pytest.approx(-1.0)
    assert rank(scores(supernet, 0.5, 0.5, 0.5)) is None
    assert -0.5 < (rank(scores(supernet, 0.0, 1.0, 0.0)) or 0.0) < 0.5
    # The same paths are drawn each time, and nothing of the global state.
    before = torch.get_rng_state()
    assert SizeRank(supernet)(scores(supernet, 3.0, 1.0, 2.0)) == rank(
        scores(supernet, 3.0, 1.0, 2.0)
    )
    assert torch.equal(torch.get_rng_state(), before)


def test_where_all_paths_are_of_one_size_nothing_is_said() -> None:
    supernet = Supernet(nasp.Choice({"tanh": nn.Tanh(), "relu": nn.ReLU()}))
    assert SizeRank(supernet)({"network": torch.tensor([[1.0, 0.0]])}) is None


def test_what_makes_a_search_know() -> None:
    assert knows(None, 1.0) is None
    assert knows(AGREED - 0.01, 1.0) is False
    assert knows(AGREED, SEEN) is True
    assert knows(1.0, SEEN - 0.01) is False
    assert knows(1.0, None) is None


def test_the_largest_path_comes_first_and_among_equals_the_search_decides() -> None:
    first, second = nn.Linear(4, 4), nn.Linear(4, 4)
    supernet = Supernet(nasp.Choice({"first": first, "second": second, "skip": nn.Identity()}))
    ranked = by_size(supernet, {"network": torch.tensor([[0.1, 0.2, 9.0]])})["network"]
    assert ranked[0].argsort(descending=True).tolist() == [1, 0, 2]


def batches(is_noise: bool) -> list[list[tuple[Tensor, Tensor]]]:
    """Return two halves of 32 batches: labels that only what is deep can tell, or nobody."""
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2048, 4, generator=generator)
    y = (x[:, 0].abs() > 0.67).long()
    if is_noise:
        y = torch.randint(2, (2048,), generator=generator)
    pairs = [(x[i : i + 32], y[i : i + 32]) for i in range(0, 2048, 32)]
    return [pairs[:32], pairs[32:]]


def search(is_noise: bool, **settings: Any) -> nasp.Found:
    given = {"epochs": 8, "lr": 0.2, "seed": 1, "fallback": "none", **settings}
    return nasp.search(network(), *batches(is_noise), **given)


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> nasp.Found:
    return search(True, fallback="largest", run=tmp_path_factory.mktemp("noise") / "run")


def test_a_search_on_labels_that_cannot_be_known_says_so_and_the_largest_decides(
    noise: nasp.Found,
) -> None:
    last = noise.metrics[-1]
    assert last["knows"] is False
    assert any("does not know" in warning for warning in last["warnings"])
    assert noise.decided_by == LARGEST
    assert set(noise.architecture.edges.values()) == {"deep"}
    assert "largest network" in repr(noise)
    assert noise.run is not None
    assert RunFolder.open(noise.run).decided_by() == LARGEST
    assert nasp.Architecture.load(noise.run / "architecture.json") == noise.architecture


def test_without_the_fallback_and_with_a_selection_others_decide(noise: nasp.Found) -> None:
    kept = search(True)
    assert kept.decided_by == SEARCH
    assert dict(kept.architecture.edges) == noise.metrics[-1]["architecture"]
    assert any("does not know" in warning for warning in kept.metrics[-1]["warnings"])
    chosen = search(True, epochs=2, select="train", selection={"epochs": 2})
    assert chosen.decided_by == SELECTION


def test_a_search_that_sees_a_planted_best_candidate_says_that_it_knows_and_has_its_time() -> None:
    found = search(False, fallback="train")
    assert len(found.metrics) == 8
    assert found.metrics[-1]["knows"] is True
    assert not any("does not know" in warning for warning in found.metrics[-1].get("warnings", []))
    assert found.decided_by == SEARCH
    assert set(found.architecture.edges.values()) == {"deep"}


def test_where_costs_press_on_the_alphas_sizes_are_not_asked() -> None:
    found = search(True, epochs=1, complexity=1.0)
    assert found.metrics[-1]["size_tau"] is None
