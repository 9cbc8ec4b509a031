"""Successive halving: how many networks train how long (Jamieson and Talwalkar, 2016)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from nasp.errors import NaspError
from nasp.training.task import Metrics

STANDARD_ERRORS = 2.0
"""Of one score, not of two, for all are measured on the same examples."""


class Rung(NamedTuple):
    """`networks` go on training for `epochs` each; the best of them reach the next rung."""

    networks: int
    epochs: int


def halving_schedule(
    epochs: int, first_rung: int = 1, eta: int = 2, most: int | None = None, least: int = 2
) -> list[Rung]:
    """Return the rungs that a number of epochs affords.

    One in `eta` networks reaches the next rung and trains `eta` times longer there, so all rungs
    cost about the same. There are as many rungs as leave at least two networks to the last, and
    as many networks as the epochs then suffice for.

    Args:
        epochs: of all networks in all rungs together; never exceeded.
        first_rung: epochs of a network in the first rung; longer where `most` leaves epochs over.
        eta: at least 2.
        most: how many networks there are at most; default no limit.
        least: how many take part at least, though it be in fewer rungs.

    Returns:
        The rungs; none where fewer than two networks could be compared.
    """
    best: list[Rung] = []
    count = 1
    while rungs := _rungs(epochs, first_rung, eta, count, most, least):
        best, count = rungs, count + 1
    if not best:
        return []
    stretched = epochs // (_cost(best) // first_rung)
    return [
        Rung(networks, round_epochs // first_rung * stretched) for networks, round_epochs in best
    ]


def halve(
    schedule: Sequence[Rung],
    train: Callable[[int, Sequence[int]], Iterator[tuple[int, Metrics]]],
    drop: Callable[[int], None],
    stands: bool = False,
) -> tuple[int, list[list[Metrics]]]:
    """Train networks rung by rung; the better ones reach the next.

    Args:
        schedule: the rungs; the first has all networks, numbered from 0, the most promising first.
        train: from a rung and who is in it, the most promising first, to what was measured of each
            at its end, with ``score``; in any order.
        drop: is told of a network that can no longer reach the next rung.
        stands: whether the first is only beaten by more than its `margin`.

    Returns:
        The winner's number, and each network's metrics at the end of each rung that it trained in;
        of equals the more promising comes first.

    Raises:
        NaspError: every network of a rung diverged.
    """
    field: Sequence[int] = range(schedule[0].networks)
    rows: list[list[Metrics]] = [[] for _ in field]
    for rung in range(len(schedule)):
        reach = schedule[rung + 1].networks if rung + 1 < len(schedule) else 1
        places = {number: place for place, number in enumerate(field)}
        kept: list[tuple[float, int, int]] = []
        for number, metrics in train(rung, field):
            rows[number].append(metrics)
            allowed = margin(metrics) if stands and number == 0 else 0.0
            kept = sorted([*kept, (-metrics["score"] - allowed, places[number], number)])
            if len(kept) > reach:
                drop(kept.pop()[-1])
        if kept[0][0] == math.inf:
            raise NaspError(
                "Every network of the selection diverged: lower its learning rate, or check the"
                " data for invalid values."
            )
        field = [number for *_, number in kept]
    return field[0], rows


def margin(metrics: Metrics) -> float:
    """Return how far below another's score this network's may lie by chance of the examples."""
    return STANDARD_ERRORS * metrics.get("score_error", 0.0)


def _rungs(
    epochs: int, first_rung: int, eta: int, count: int, most: int | None, fewest: int
) -> list[Rung]:
    """Return `count` rungs with as many networks as fit; none where two do not reach the last."""
    least = max(fewest, 2 * eta ** (count - 1))
    largest = epochs // first_rung if most is None else min(most, epochs // first_rung)
    for networks in range(largest, least - 1, -1):
        rungs = [Rung(networks // eta**rung, first_rung * eta**rung) for rung in range(count)]
        if _cost(rungs) <= epochs:
            return rungs
    return []


def _cost(rungs: list[Rung]) -> int:
    return sum(networks * epochs for networks, epochs in rungs)
