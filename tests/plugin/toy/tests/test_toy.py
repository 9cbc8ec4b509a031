"""The toy passes the tests that nasp's own strategies and spaces pass."""

from __future__ import annotations

import pytest

from nasp import Architecture
from nasp.spaces import find_space
from nasp.testing.domains import DomainTests
from nasp.testing.spaces import ImageSpaceTests, SpaceTests
from nasp.testing.strategies import STEPS, Search, StrategyTests


@pytest.mark.parametrize("name", ["toy"])
class TestStrategy(StrategyTests):
    """The shared tests of strategies."""


@pytest.mark.parametrize("name", ["toy"])
class TestSpace(ImageSpaceTests):
    """The shared tests of spaces of images."""


@pytest.mark.parametrize("name", ["table"])
class TestTableSpace(SpaceTests):
    """The shared tests of spaces of any data."""


@pytest.mark.parametrize("name", ["table"])
class TestKindOfData(DomainTests):
    """The shared tests of kinds of data."""


def test_what_is_paid_best_is_derived() -> None:
    search = Search("toy")
    search.iterate(0, STEPS)
    alphas = search.supernet.alphas["alone"]
    candidates = search.supernet.tables["alone"].candidates
    assert search.strategy.derive()["alone"] == candidates[int(alphas.argmax())]


def test_notation() -> None:
    edges = {"cell/0": "conv_3x3", "cell/1": "avg_pool_3x3"}
    assert find_space("toy").notation(Architecture(edges, "toy")) == "toy(conv_3x3, avg_pool_3x3)"
