"""Fronts against brute force, and a picture that is one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasp.bench.contests.plots import draw_front
from nasp.bench.contests.sweep.pareto import Point, area, beaten, better_than, front

points = st.lists(
    st.builds(
        Point,
        st.just("s"),
        st.integers(0, 3),
        st.integers(0, 6).map(float),
        st.integers(0, 6).map(lambda n: n / 10),
    ),
    min_size=1,
    max_size=12,
)


def dominates(one: Point, other: Point) -> bool:
    mine, theirs = (one.cost, one.error), (other.cost, other.error)
    return mine != theirs and mine[0] <= theirs[0] and mine[1] <= theirs[1]


@given(points)
def test_the_front_is_what_nothing_dominates(found: list[Point]) -> None:
    best = front(found)
    kept = {(p.cost, p.error) for p in found if not any(dominates(o, p) for o in found)}
    assert {(p.cost, p.error) for p in best} == kept
    assert len(best) == len(kept)
    assert [p.cost for p in best] == sorted(p.cost for p in best)
    assert [p.error for p in best] == sorted((p.error for p in best), reverse=True)


@given(points, points)
def test_shares(found: list[Point], random: list[Point]) -> None:
    expected = sum(any(dominates(p, r) for p in found) for r in random) / len(random)
    assert beaten(random, found) == expected
    assert beaten(random, front(found)) == expected
    for point in found:
        rivals = [r for r in random if r.cost <= point.cost]
        share = better_than(point, random)
        if not rivals:
            assert share is None
        else:
            assert share == sum(r.error > point.error for r in rivals) / len(rivals)


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_picture(ending: str, tmp_path: Path) -> None:
    found = [Point("a", 0, 2e6, 0.1), Point("a", 1, 1e6, 0.2), Point("b", 0, 3e6, 0.3)]
    search = {"space": "darts", "data": {"name": "folder:a/b"}, "search": {"strategy": "nasp"}}
    report = {
        "cost": "parameters",
        "network": "8 cells",
        "error": "test error",
        "settings": {"search": search},
        "rows": [{"name": "a"}, {"name": "b"}],
        "points": [{**point._asdict(), "on_front": point in front(found)} for point in found],
        "random": [{"cost": 2e6, "error": 0.5}],
    }
    path = tmp_path / f"front.{ending}"
    draw_front(report, path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG" if ending == "png" else b"<?xml")
    assert len(content) > 5000


def test_the_area_is_the_mean_of_the_lowest_error() -> None:
    points = [Point("s", 0, cost, error) for cost, error in ((2, 0.5), (4, 0.25), (3, 0.9))]
    # 1 from 0 to 2, 0.5 from 2 to 4, 0.25 from 4 to 8.
    assert area(points, 0, 8) == pytest.approx((2 * 1 + 2 * 0.5 + 4 * 0.25) / 8)
    assert area(points, 3, 4) == pytest.approx(0.5)
    assert area(points, 4, 4) == 0.25
    assert area([], 0, 1) == 1
