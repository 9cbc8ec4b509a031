"""Paired tests against closed forms, tables and brute force."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasp.bench.seeds import compare, over_seeds, permutation_test


def t_test(differences: list[float]) -> float | None:
    return compare(differences, [0.0] * len(differences)).p_t


def test_t_test_of_two_pairs_is_cauchys() -> None:
    # One degree of freedom: t is Cauchy, p = 1 - 2 atan(t) / π; here t = 3.
    assert t_test([1.0, 2.0]) == pytest.approx(1 - 2 / math.pi * math.atan(3.0))


def test_t_test_of_three_pairs_is_the_closed_form() -> None:
    # Two degrees of freedom: p = 1 - t / sqrt(2 + t²).
    differences = [0.5, 1.0, 3.0]
    t = 1.5 / (math.sqrt(1.75) / math.sqrt(3))
    assert t_test(differences) == pytest.approx(1 - t / math.sqrt(2 + t * t))


@pytest.mark.parametrize(
    ("count", "t"), [(5, 2.776445), (6, 2.570582), (10, 2.262157), (11, 2.228139), (31, 2.042272)]
)
def test_t_test_has_the_tables_critical_values(count: int, t: float) -> None:
    # Values of ±1 about 0 have a known deviation; their mean is moved to where t is critical.
    base = [float((-1) ** i) for i in range(count)]
    mean = sum(base) / count
    std = math.sqrt(sum((b - mean) ** 2 for b in base) / (count - 1))
    moved = [b - mean + t * std / math.sqrt(count) for b in base]
    assert t_test(moved) == pytest.approx(0.05, abs=1e-6)


@given(st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=7))
def test_permutation_test_is_brute_force(differences: list[float]) -> None:
    found = abs(sum(differences))
    flips = itertools.product((1, -1), repeat=len(differences))
    sums = [abs(sum(s * d for s, d in zip(f, differences, strict=True))) for f in flips]
    assert permutation_test(differences) == sum(x >= found for x in sums) / len(sums)


def test_permutation_test_of_many_pairs() -> None:
    many = 20
    assert permutation_test([1.0] * many) < 0.001
    balanced = [(-1.0) ** i for i in range(many)]
    assert permutation_test(balanced) == pytest.approx(1.0)
    assert permutation_test([1.0] * many) == permutation_test([1.0] * many)


def test_equal_differences_are_equal_whatever_the_rounding() -> None:
    first, second = [93.1, 91.3, 90.7], [93.0, 91.2, 90.6]
    assert len({a - b for a, b in zip(first, second, strict=True)}) > 1
    found = compare(first, second)
    assert (found.std, found.p_t, found.p_permutation) == (0.0, None, 2 / 2**3)
    # 0.1 + 0.2 and 0.3 are one sum: of 8 assignments 4 reach it, where 2 would by their bits.
    assert permutation_test([0.1, 0.2, 0.0]) == permutation_test([1.0, 2.0, 0.0]) == 0.5


def test_over_one_seed() -> None:
    assert over_seeds([3.0]) == {"mean": 3.0, "std": 0.0, "best": 3.0, "worst": 3.0, "seeds": [3.0]}


def test_a_comparison() -> None:
    found = compare([94.0, 93.0, 92.0], [93.0, 93.0, 93.5])
    assert (found.seeds, found.wins, found.losses) == (3, 1, 1)
    assert found.mean == pytest.approx(-0.5 / 3)
    equal = compare([1.0, 1.0], [1.0, 1.0])
    assert (equal.p_t, equal.p_permutation, equal.std) == (None, 1.0, 0.0)
    assert compare([2.0], [1.0]).p_permutation == 1.0
    with pytest.raises(ValueError, match="no seed"):
        compare([], [])


@given(st.lists(st.floats(-10, 10), min_size=2, max_size=8))
def test_a_comparison_turned_round_has_the_same_p(first: list[float]) -> None:
    second = [0.0] * len(first)
    one, other = compare(first, second), compare(second, first)
    assert one.mean == pytest.approx(-other.mean)
    assert one.p_permutation == pytest.approx(other.p_permutation)
    assert one.p_t == (None if other.p_t is None else pytest.approx(other.p_t))
