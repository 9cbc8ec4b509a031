"""What holds for every registered strategy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nasp.errors import UsageError
from nasp.strategies import STRATEGIES, Horizon
from nasp.strategies.synflow import SynflowConfig
from nasp.testing.strategies import Search, StrategyTests


class FewSamples(SynflowConfig):
    """Of architectures to score; by default ten times as many."""

    samples: int = 20


@pytest.mark.parametrize("name", STRATEGIES)
class TestEveryStrategy(StrategyTests):
    """The tests that plug-ins' strategies must pass, too."""

    @pytest.fixture(autouse=True)
    def _few_samples(self, monkeypatch: pytest.MonkeyPatch) -> None:
        few = replace(STRATEGIES["synflow"], config=FewSamples)
        monkeypatch.setitem(STRATEGIES, "synflow", few)


def test_unknown_strategies_are_refused() -> None:
    with pytest.raises(UsageError, match=r"Unknown strategy 'nsap': choose one of .*nasp"):
        Search("nsap")


def test_values_out_of_range_are_refused() -> None:
    with pytest.raises(UsageError, match=r"'uniform' of strategy 'nasp': .*less than or equal"):
        Search("nasp", uniform=2)


@pytest.mark.parametrize(
    ("epochs", "steps", "expected"),
    [
        (50, 390, 3e-4),  # the authors' search
        (5, 390, 3e-3),
        (100, 390, 1.5e-4),
        (1, 5, 0.02),
    ],
)
def test_the_step_size_goes_by_the_length_of_the_search(
    epochs: int, steps: int, expected: float
) -> None:
    assert Horizon(epochs, steps).step_size(3e-4) == pytest.approx(expected)


@pytest.mark.parametrize(
    "name", [n for n, r in STRATEGIES.items() if "lr" in r.config.model_fields]
)
def test_in_a_search_as_long_as_the_authors_it_is_theirs(name: str) -> None:
    authors = 6e-4 if name == "pc-darts" else 3e-4
    own = {"weight_steps": 1} if name == "nasp" else {}
    for horizon, expected in ((Horizon(50, 390), authors), (Horizon(1, 1), 0.02)):
        state = Search(name, horizon=horizon, **own).strategy.state_dict()
        while "optimizer" not in state:  # of the strategy that it is made of
            state = next(part for part in state.values() if isinstance(part, dict))
        assert state["optimizer"]["param_groups"][0]["lr"] == pytest.approx(expected)
