"""Error against cost: which architectures no other beats in both, first computed, then drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, ScalarFormatter

from nasp.runs.files import write_atomic


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


def _beats(one: Point, other: Point) -> bool:
    no_worse = one.cost <= other.cost and one.error <= other.error
    return no_worse and (one.cost < other.cost or one.error < other.error)


class Picture(NamedTuple):
    """What is drawn.

    Attributes:
        found: of the searches.
        random: random architectures.
        cost: what stands on the axis of costs.
        error: what stands on the axis of errors.
        unit: of the costs, and its size.
    """

    found: Sequence[Point]
    random: Sequence[Point]
    cost: str
    error: str
    unit: tuple[str, float]


def draw(picture: Picture, path: Path, title: str) -> None:
    """Write the picture in the format that the file's ending names (png, svg, pdf).

    Raises:
        NaspError: the file cannot be written.
    """
    name, size = picture.unit
    figure = Figure(figsize=(7.5, 5.0), layout="constrained")
    axis = figure.subplots()
    axis.scatter(
        [p.cost / size for p in picture.random],
        [100 * p.error for p in picture.random],
        s=10,
        color="#c4c4c4",
        label=f"{len(picture.random)} random architectures",
    )
    settings = list(dict.fromkeys(point.setting for point in picture.found))
    colours = matplotlib.colormaps["viridis"].resampled(max(len(settings), 2))
    for index, setting in enumerate(settings):
        own = [point for point in picture.found if point.setting == setting]
        axis.scatter(
            [p.cost / size for p in own],
            [100 * p.error for p in own],
            color=[colours(index)],
            edgecolors="black",
            linewidths=0.5,
            zorder=3,
            label=setting,
        )
    steps = front(picture.found)
    axis.step(
        [p.cost / size for p in steps],
        [100 * p.error for p in steps],
        where="post",
        color="#b5432e",
        zorder=2,
        label="front",
    )
    axis.set(xlabel=f"{picture.cost}, {name}" if name else picture.cost, ylabel=picture.error)
    axis.set_yscale("log")
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axis.yaxis.set_major_formatter(ScalarFormatter())
    axis.yaxis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    figure.suptitle(title)
    kind = path.suffix.lstrip(".")
    write_atomic(path, lambda stream: figure.savefig(stream, format=kind, dpi=110))
