"""Successive halving: how many networks train how long (Jamieson and Talwalkar, 2016)."""

from __future__ import annotations

from typing import NamedTuple


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
