from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nasp.domains.images.datasets import load_images
from nasp.domains.images.splits import halves, split
from nasp.errors import UsageError

labels_of = st.lists(st.integers(0, 6), min_size=4, max_size=120).map(torch.tensor)
seeds = st.integers(0, 2**31)


@given(labels=labels_of, shares=st.lists(st.integers(1, 5), min_size=1, max_size=4), seed=seeds)
def test_fractions_give_disjoint_exhaustive_balanced_parts(labels, shares, seed):
    fractions = [share / sum(shares) for share in shares]
    parts = split(labels, fractions, seed)
    assert torch.cat(parts).sort().values.tolist() == list(range(len(labels)))
    for part, fraction in zip(parts, fractions, strict=True):
        assert abs(len(part) - fraction * len(labels)) < 1.001
    whole = torch.bincount(labels, minlength=7)
    first = torch.bincount(labels[parts[0]], minlength=7)
    assert ((first - whole * len(parts[0]) / len(labels)).abs() < 1).all()


@given(labels=labels_of, seed=seeds)
def test_sizes_are_exact_and_disjoint(labels, seed):
    size = len(labels) // 3
    a, b = split(labels, [size, size], seed)
    assert len(a) == len(b) == size
    assert not set(a.tolist()) & set(b.tolist())


def test_equal_classes_are_split_exactly():
    labels = torch.arange(10).repeat(100)
    for part in split(labels, [0.5, 0.5], seed=3):
        assert torch.bincount(labels[part]).tolist() == [50] * 10
    for part in split(labels, [200, 200], seed=3):
        assert torch.bincount(labels[part]).tolist() == [20] * 10


def test_the_seed_decides():
    labels = torch.arange(10).repeat(20)
    first, again, other = (split(labels, [0.5, 0.5], seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("parts", [[], [0.5, 0.6], [0.5, 0.4], [-0.5, 1.5], [0, 5], [6, 5]])
def test_impossible_parts_are_refused(parts):
    with pytest.raises(UsageError):
        split(torch.zeros(10, dtype=torch.int64), parts)


def test_halves_take_all_or_a_subset():
    digits = load_images("digits")
    weights, alphas = halves(digits, seed=1)
    assert len(weights) + len(alphas) == len(digits.train)
    weights, alphas = halves(digits, seed=1, subset=100)
    assert len(weights) == len(alphas) == 100
    assert torch.bincount(digits.train.labels[alphas], minlength=10).min() >= 9
    with pytest.raises(UsageError, match=r"800 \+ 800 images out of 1438"):
        halves(digits, subset=800)
