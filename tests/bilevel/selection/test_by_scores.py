"""What an averaged search proposes: every architecture, in the order of its scores."""

from __future__ import annotations

from itertools import product
from typing import Any, cast

import pytest
import torch
from torch import nn

import nasp
from nasp.bilevel.decision import decide
from nasp.bilevel.selection import ByScores, Selector
from nasp.bilevel.settings import SearchConfig
from nasp.complexity.config import ComplexityConfig
from nasp.complexity.control import Complexity
from nasp.complexity.store import Store
from nasp.complexity.target import Target
from nasp.strategies import Strategy
from nasp.strategies.interactions import Fit, flat
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice, Node
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet


def edge() -> Choice:
    operations = {"wide": nn.Sequential(nn.Linear(2, 5), nn.Linear(5, 2)), "thin": nn.Linear(2, 2)}
    return Choice({**operations, "skip": nn.Identity()})


class Net(nn.Module):
    """A node that keeps two edges of three, and an edge alone."""

    def __init__(self) -> None:
        super().__init__()
        self.node, self.alone = Node([edge() for _ in range(3)], 2), edge()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.alone(self.node(x, x, x))
        return out


def proposing(**bounds: Any) -> tuple[Supernet, ByScores]:
    supernet = Supernet(Net())

    def target() -> Target:
        x = torch.ones(1, 2)
        return Target("it", supernet, lambda: supernet(x), lambda a: derive(supernet, a))

    complexity = Complexity(supernet, ComplexityConfig(**bounds), target, target, 5, Store(None))
    generator = torch.Generator().manual_seed(1)
    scores = {n: torch.randn(a.shape, generator=generator) for n, a in supernet.alphas.items()}
    return supernet, ByScores(complexity, scores)


def by_brute_force(supernet: Supernet, by_scores: ByScores) -> list[Architecture]:
    rows = [row.tolist() for scores in by_scores.scores.values() for row in scores]
    ks = (None, 0, 1, 2)
    paths = [
        path
        for path in product(ks, repeat=4)
        if path[3] is not None and sum(k is not None for k in path[:3]) == 2
    ]
    assert len(paths) == 3 * 9 * 3

    def total(path: tuple[int | None, ...]) -> float:
        return sum(row[k] for row, k in zip(rows, path, strict=True) if k is not None)

    return [supernet.architecture(path) for path in sorted(paths, key=total, reverse=True)]


def test_all_architectures_come_in_their_order() -> None:
    supernet, by_scores = proposing()
    expected = by_brute_force(supernet, by_scores)
    assert by_scores.propose(200) == expected
    assert by_scores.propose(7) == expected[:7]
    assert expected[0] == supernet.architecture(supernet.discretise(by_scores.scores))


def test_within_bounds_it_is_those_that_keep_them() -> None:
    supernet, by_scores = proposing(at_most={"parameters": 40})
    complexity = by_scores.complexity
    expected = [a for a in by_brute_force(supernet, by_scores) if complexity.is_feasible(a)]
    assert 10 < len(expected) < 81
    assert by_scores.propose(200) == expected


def fitted(supernet: Supernet, by_scores: ByScores) -> ByScores:
    """Return the same with a fit by which its sums are not all there is to say."""
    n = sum(alphas.numel() for alphas in supernet.alphas.values())
    generator = torch.Generator().manual_seed(2)
    slopes = torch.randn(n, n, generator=generator, dtype=torch.float64)
    fit = Fit(by_scores.scores, flat(by_scores.scores), slopes, torch.full((n,), 0.25).double())
    return ByScores(by_scores.complexity, fit.scores(), fit)


@pytest.mark.parametrize("bounds", [{}, {"at_most": {"parameters": 40}}])
def test_those_that_gain_most_are_found_among_the_foremost(bounds: dict[str, Any]) -> None:
    supernet, plain = proposing(**bounds)
    by_scores = fitted(supernet, plain)
    fit = by_scores.fit
    assert fit is not None

    def gain(architecture: Architecture) -> float:
        return fit.gain(supernet.one_hot(supernet.path(architecture)))

    ranked = by_scores.complexity.ranked(by_scores.scores, 32)
    expected = sorted(ranked, key=gain, reverse=True)
    assert by_scores.propose(5) == expected[:5]
    assert expected[0] != ranked[0]
    everything = by_scores.propose(81)
    assert everything == sorted(everything, key=gain, reverse=True)
    assert set(everything) == set(plain.propose(81))


def test_at_a_target_a_search_returns_what_gains_most() -> None:
    supernet, plain = proposing(target={"parameters": 33}, within=0.2)
    by_scores = fitted(supernet, plain)

    class Derives:
        def derive(self) -> Architecture:
            return plain.propose(1)[0]

    def decided(proposed: ByScores) -> Architecture:
        return decide(
            "none",
            SearchConfig(),
            None,
            cast(Strategy, Derives()),
            proposed,
            plain.complexity,
            plain.scores,
            cast(Selector, None),
            is_trained=True,
        ).result

    assert decided(by_scores) == by_scores.propose(1)[0]
    assert decided(by_scores) != decided(plain) == plain.propose(1)[0]


@pytest.mark.parametrize(("mode", "epochs", "looked_at"), [("train", 4, 4), ("rerank", 4, 6)])
def test_a_search_trains_the_likeliest_and_reranks_more(
    mode: str, epochs: int, looked_at: int
) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(32, 4), torch.randint(4, (32,))
    batches = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 32, 8)]
    choices = [nasp.Choice({str(k): nn.Linear(4, 4) for k in range(3)}) for _ in range(3)]
    selection = {"epochs": epochs, "candidates": 6}
    found = nasp.search(nn.Sequential(*choices), batches, batches, epochs=2, select=mode,
                        selection=selection)  # fmt: skip
    assert found.selection is not None
    contenders = found.selection.contenders
    assert len({contender.architecture for contender in contenders}) == looked_at
    assert all((contender.shared is None) == (mode == "train") for contender in contenders)
    assert all(bool(contender.rungs) == (mode == "train") for contender in contenders)
    assert found.architecture == contenders[0].architecture
