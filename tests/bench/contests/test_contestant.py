"""How a contestant is written."""

from __future__ import annotations

import pytest

from nasp.bench.contests.contestant import (
    Contestant,
    contestants_of,
    parse_contestant,
    with_controls,
)
from nasp.errors import UsageError


def test_a_name_alone_is_a_strategy_with_its_defaults() -> None:
    assert parse_contestant("darts") == Contestant(label="darts", strategy="darts")


def test_keys_go_where_they_belong() -> None:
    found = parse_contestant(
        "bold=nasp lr=0.1 settings.lr=0.006 uniform=0.2 complexity=1e-2 settings.optimizer=sgd"
    )
    assert (found.label, found.strategy) == ("bold", "nasp")
    assert found.search == {"lr": 0.1, "complexity": 0.01}
    assert found.settings == {"lr": 0.006, "uniform": 0.2, "optimizer": "sgd"}


def test_contestants_need_labels_of_their_own() -> None:
    found = contestants_of(["nasp", "darts"], ["n2=nasp uniform=0.5"])
    assert [c.label for c in found] == ["nasp", "darts", "n2"]
    with pytest.raises(UsageError, match="Two contestants are called 'nasp'"):
        contestants_of(["nasp"], ["nasp uniform=0.5"])
    with pytest.raises(UsageError, match="nobody to compare"):
        contestants_of([], [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x=nsap", "Unknown strategy 'nsap'.*Did you mean 'nasp'"),
        ("", "A contestant is|Unknown strategy|LABEL=STRATEGY"),
        ("a=nasp lr", "takes NAME=VALUE, not 'lr'"),
        ("a=nasp seed=3", "'seed' is the same for all"),
        ("a=nasp epochs=3", "'epochs' is the same for all"),
        ("a,b=nasp", "neither commas nor spaces"),
        ("a=nasp 'x", "A contestant is LABEL=STRATEGY"),
    ],
)
def test_what_is_no_contestant(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_contestant(text)


def test_controls_take_part_with_the_bounds_and_the_selection_of_the_reference() -> None:
    asked = contestants_of(
        ["darts"], ["best=nasp select=train selection.epochs=3 average=0.2", "random=nasp"]
    )
    *_, largest, drawn = with_controls(asked, "best", lambda _: True)
    assert (largest.label, largest.strategy, largest.search) == ("params", "params", {})
    assert (drawn.label, drawn.strategy) == ("random-control", "random")
    assert drawn.search == {"select": "train", "selection": {"epochs": 3}}
    assert drawn.settings == {}
    # A control that was asked for is not added; without a selection by training there is none.
    few = with_controls(contestants_of(["nasp", "params"], []), "nobody", lambda _: False)
    assert [(c.label, c.search) for c in few] == [("nasp", {}), ("params", {}), ("random", {})]
