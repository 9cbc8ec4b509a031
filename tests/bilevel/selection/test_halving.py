"""How many networks train how long: the arithmetic of successive halving."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nasp.bilevel.selection import Rung, SelectConfig, halving_schedule
from nasp.bilevel.selection.halving import halve
from nasp.errors import NaspError
from nasp.training.task import Metrics

small = st.integers(1, 5)


@given(epochs=st.integers(1, 400), first=small, eta=st.integers(2, 5), most=st.integers(1, 60))
def test_what_any_schedule_holds(epochs: int, first: int, eta: int, most: int) -> None:
    schedule = halving_schedule(epochs, first, eta, most)
    affordable = min(most, epochs // first)
    assert bool(schedule) == (affordable >= 2)
    if not schedule:
        return
    assert sum(rung.networks * rung.epochs for rung in schedule) <= epochs
    assert schedule[-1].networks >= 2
    assert schedule[0].networks <= most
    assert schedule[0].epochs >= first
    for rung, following in pairwise(schedule):
        assert following.networks == rung.networks // eta
        assert following.epochs == rung.epochs * eta
    # Nothing is left over that would train one network more, or all of them longer.
    networks = schedule[0].networks
    if networks < most:
        assert schedule[0].epochs < 2 * first
    rungs = len(schedule)
    larger = sum((networks + 1) // eta**r * first * eta**r for r in range(rungs))
    assert networks == most or larger > epochs


@given(epochs=st.integers(2, 400), eta=st.integers(2, 4))
def test_more_epochs_never_mean_fewer_rungs(epochs: int, eta: int) -> None:
    assert len(halving_schedule(epochs, eta=eta)) <= len(halving_schedule(epochs + 1, eta=eta))


@given(epochs=st.integers(2, 400), eta=st.integers(2, 4), count=st.integers(2, 40))
def test_all_take_part_where_they_must(epochs: int, eta: int, count: int) -> None:
    schedule = halving_schedule(epochs, 1, eta, most=count, least=count)
    assert bool(schedule) == (count <= epochs)
    if schedule:
        assert schedule[0].networks == count
        assert sum(rung.networks * rung.epochs for rung in schedule) <= epochs
        assert schedule[-1].networks >= 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((1,), []),
        ((2,), [(2, 1)]),
        ((7,), [(7, 1)]),
        ((8,), [(4, 1), (2, 2)]),
        ((12,), [(6, 1), (3, 2)]),
        ((24,), [(8, 1), (4, 2), (2, 4)]),
        ((64,), [(16, 1), (8, 2), (4, 4), (2, 8)]),
        ((24, 3), [(4, 3), (2, 6)]),
        ((18, 1, 3), [(9, 1), (3, 3)]),
        ((24, 1, 2, 4), [(4, 3), (2, 6)]),
        ((24, 1, 2, 2), [(2, 12)]),
        ((24, 1, 2, 1), []),
        ((24, 1, 2, 9, 9), [(9, 1), (4, 2)]),  # of eight networks it would be three rungs
    ],
)
def test_schedules(arguments: tuple[int, ...], expected: list[tuple[int, int]]) -> None:
    assert halving_schedule(*arguments) == expected


def test_a_budget_for_less_than_two_networks_is_refused() -> None:
    with pytest.raises(ValidationError, match="give at least 6"):
        SelectConfig(epochs=5, first_rung=3)
    assert SelectConfig(epochs=6, first_rung=3).epochs == 6


RUNGS = [Rung(5, 1), Rung(2, 2)]


def halved(
    scores: Sequence[Sequence[float]], backwards: bool = False
) -> tuple[int, list[Sequence[int]], list[int]]:
    """Return the winner, who was in each rung, and who was dropped, in order."""
    fields: list[Sequence[int]] = []
    dropped: list[int] = []

    def train(rung: int, field: Sequence[int]) -> Iterator[tuple[int, Metrics]]:
        fields.append(field)
        for number in reversed(field) if backwards else field:
            yield number, {"score": scores[rung][number]}

    winner, rows = halve(RUNGS, train, dropped.append)
    for number, row in enumerate(rows):
        assert [each["score"] for each in row] == [
            scores[rung][number] for rung, field in enumerate(fields) if number in field
        ]
    return winner, [list(field) for field in fields], list(dict.fromkeys(dropped))


def test_the_better_ones_train_on_and_of_equals_the_more_promising() -> None:
    winner, fields, dropped = halved([[0.5, 0.7, 0.7, 0.1, 0.7], [0.0, 0.6, 0.6, 0.0, 0.0]])
    assert (winner, fields, dropped) == (1, [[0, 1, 2, 3, 4], [1, 2]], [0, 3, 4, 2])


scores = st.lists(st.sampled_from([0.1, 0.2, 0.3, -math.inf]), min_size=5, max_size=5)


@given(first=scores.filter(lambda row: max(row) > 0), second=scores.filter(lambda r: min(r) > 0))
def test_in_whatever_order_they_end(first: list[float], second: list[float]) -> None:
    one, other = (halved([first, second], backwards) for backwards in (False, True))
    assert one[:2] == other[:2]
    assert set(one[2]) == set(other[2]) == set(range(5)) - {one[0]}


@pytest.mark.parametrize(("error", "winner"), [(0.04, 1), (0.06, 0), (None, 1)])
def test_the_one_that_stands_is_only_beaten_by_more_than_two_standard_errors(
    error: float | None, winner: int
) -> None:
    known = {} if error is None else {"score_error": error}
    there: list[Sequence[int]] = []

    def train(rung: int, field: Sequence[int]) -> Iterator[tuple[int, Metrics]]:
        there.append(field)
        for number in field:  # ahead by 0.1, all of them, in each rung
            yield number, {"score": 0.5 if number == 0 else 0.6 - number / 1000, **known}

    assert halve(RUNGS, train, lambda _: None, stands=True)[0] == winner
    assert (0 in there[1]) == (winner == 0)
    assert halve(RUNGS, train, lambda _: None)[0] == 1


def test_all_may_diverge_but_one() -> None:
    lost = -math.inf
    assert halved([[lost, lost, lost, 0.0, lost], [lost, lost, lost, 0.0, lost]])[0] == 3
    with pytest.raises(NaspError, match="Every network of the selection diverged"):
        halved([[lost] * 5])
