"""Error against cost: which architectures no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Point(NamedTuple):
    """An architecture's cost and error.

    Attributes:
        setting: of the search that found it; empty for a random one.
        seed: of that search; a random one's number.
        cost: in units of the quantity.
        error: a fraction.
    """

    setting: str
    seed: int
    cost: float
    error: float


def front(points: Sequence[Point]) -> list[Point]:
    """Return the points that no other is as good as in both cost and error, by rising cost.

    Of points that are equal in both the first stays.
    """
    best: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, p.error)):
        if not best or point.error < best[-1].error:
            best.append(point)
    return best


def beaten(points: Sequence[Point], by: Sequence[Point]) -> float:
    """Return the share of points, at least one, that another is as good as and better in one."""
    return sum(any(_beats(b, point) for b in by) for point in points) / len(points)


def better_than(point: Point, others: Sequence[Point]) -> float | None:
    """Return the share of those that cost no more than a point that have a larger error.

    None where none costs no more.
    """
    no_dearer = [other for other in others if other.cost <= point.cost]
    if not no_dearer:
        return None
    return sum(other.error > point.error for other in no_dearer) / len(no_dearer)


def area(points: Sequence[Point], cheapest: float, dearest: float) -> float:
    """Return the lowest error to be had for a cost, mean over all costs between two.

    Below the first point that is the error 1. Where the two costs are equal, it is the error
    there.
    """
    best = front(points)
    if cheapest == dearest:
        return best[-1].error if best else 1.0
    total, since, error = 0.0, cheapest, 1.0
    for point in best:
        cost = min(max(point.cost, cheapest), dearest)
        total, since, error = total + (cost - since) * error, cost, point.error
    return (total + (dearest - since) * error) / (dearest - cheapest)


def _beats(one: Point, other: Point) -> bool:
    no_worse = one.cost <= other.cost and one.error <= other.error
    return no_worse and (one.cost < other.cost or one.error < other.error)
