"""The proximal operators against brute force, and their ties against chance."""

import itertools
import math
from collections import Counter
from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from nasp.errors import UsageError
from nasp.supernet.proximal import NodeGroup, prox_c, prox_c1, prox_c2, strongest_path

# Few distinct values, so that ties are common, and any others.
entries = st.one_of(
    st.sampled_from([-1.0, 0.0, 0.5, 1.0, 2.0]), st.floats(-3, 3, allow_subnormal=False)
)


@st.composite
def tables(draw: st.DrawFn, edges: int = 6, candidates: int = 5) -> Tensor:
    e, k = draw(st.integers(1, edges)), draw(st.integers(1, candidates))
    rows = st.lists(st.lists(entries, min_size=k, max_size=k), min_size=e, max_size=e)
    return torch.tensor(draw(rows), dtype=torch.float64)


@st.composite
def grouped(draw: st.DrawFn, edges: int = 6) -> tuple[Tensor, list[NodeGroup]]:
    """Alphas, and disjoint groups over some of their edges in any order."""
    a = draw(tables(edges=edges))
    order = draw(st.permutations(range(len(a))))
    cuts = sorted(draw(st.sets(st.integers(0, len(a)))))
    groups = [
        NodeGroup(tuple(order[start:end]), draw(st.integers(1, end - start)))
        for start, end in itertools.pairwise(cuts)
    ]
    return a, groups


def distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).square().sum())


@given(tables(edges=1), st.integers(0, 2**32))
def test_prox_c_is_the_nearest_feasible_point(a: Tensor, seed: int) -> None:
    found = prox_c(a, generator=torch.Generator().manual_seed(seed))
    assert (found != 0).sum() <= 1
    assert ((found >= 0) & (found <= 1)).all()
    grid = torch.linspace(0, 1, 101, dtype=torch.float64)
    for k in range(a.shape[1]):
        for value in torch.cat([grid, a[0].clamp(0, 1)]):
            feasible = torch.zeros_like(a)
            feasible[0, k] = value
            assert distance(a, found) <= distance(a, feasible) + 1e-12


@given(grouped(edges=4), st.integers(0, 2**32))
def test_with_node_groups_too_it_is_the_nearest_feasible_point(
    problem: tuple[Tensor, list[NodeGroup]], seed: int
) -> None:
    a, groups = problem
    found = prox_c(a, groups, torch.Generator().manual_seed(seed))
    # The best value on an edge's entry is that entry, clipped; what is off stays zero.
    choices = [None, *range(a.shape[1])]
    nearest = math.inf
    for path in itertools.product(choices, repeat=len(a)):
        on = [k is not None for k in path]
        if any(sum(on[edge] for edge in group.edges) > group.keep for group in groups):
            continue
        feasible = torch.zeros_like(a)
        for edge, k in enumerate(path):
            if k is not None:
                feasible[edge, k] = a[edge, k].clamp(0, 1)
        nearest = min(nearest, distance(a, feasible))
    assert distance(a, found) == pytest.approx(nearest, abs=1e-12)


@given(tables())
def test_prox_c2_clips(a: Tensor) -> None:
    clipped = prox_c2(a)
    expected = [[min(max(entry, 0.0), 1.0) for entry in row] for row in a.tolist()]
    assert clipped.tolist() == expected
    assert torch.equal(prox_c2(clipped), clipped)


@given(grouped(), st.integers(0, 2**32), st.integers(0, 2**32))
def test_idempotent(problem: tuple[Tensor, list[NodeGroup]], seed: int, other: int) -> None:
    a, groups = problem
    a = a.abs() + 0.1  # at zero a kept entry and a dropped one cannot be told apart
    for prox in (prox_c1, prox_c):
        once = prox(a, groups, torch.Generator().manual_seed(seed))
        assert torch.equal(prox(once, groups, torch.Generator().manual_seed(other)), once)


@given(grouped(), st.integers(0, 2**32))
def test_an_edge_keeps_its_largest_entry_and_a_node_its_strongest_edges(
    problem: tuple[Tensor, list[NodeGroup]], seed: int
) -> None:
    a, groups = problem
    path = strongest_path(a, groups, torch.Generator().manual_seed(seed))
    on = path.sum(dim=1)
    assert set(on.tolist()) <= {0, 1}
    largest = a.amax(dim=1)
    assert torch.equal(a[path], largest[on == 1])
    in_groups: set[int] = set()
    for group in groups:
        in_groups.update(group.edges)
        kept = [edge for edge in group.edges if on[edge]]
        dropped = [edge for edge in group.edges if not on[edge]]
        assert len(kept) == group.keep
        if dropped:
            assert min(float(largest[e]) for e in kept) >= max(float(largest[e]) for e in dropped)
    assert all(on[edge] for edge in set(range(len(a))) - in_groups)
    kept = prox_c1(a, groups, torch.Generator().manual_seed(seed))
    assert torch.equal(kept, torch.where(path, a, 0.0))


def chi_square(counts: Sequence[int], expected: float) -> float:
    return sum((count - expected) ** 2 / expected for count in counts)


@pytest.mark.parametrize("one_generator", [True, False], ids=["draws of a seed", "many seeds"])
def test_tied_candidates_win_equally_often(one_generator: bool) -> None:
    a = torch.tensor([[0.2, 0.5, 0.5, 0.1, 0.5], [0.7, 0.3, 0.7, 0.7, 0.7]])
    generator = torch.Generator().manual_seed(1)
    wins: Counter[tuple[int, ...]] = Counter()
    draws = 2400
    for seed in range(draws):
        if not one_generator:
            generator.manual_seed(seed)
        wins[tuple(strongest_path(a, generator=generator).nonzero()[:, 1].tolist())] += 1
    assert set(wins) == set(itertools.product([1, 2, 4], [0, 2, 3, 4]))
    assert chi_square(list(wins.values()), draws / 12) < 31.3  # p = 0.001 at 11 degrees


def test_tied_edges_survive_equally_often() -> None:
    a = torch.tensor([[0.5, 0.1], [0.9, 0.0], [0.5, 0.2], [0.3, 0.5], [0.4, 0.4], [0.1, 0.5]])
    groups = [NodeGroup((3, 0, 1, 4, 2), keep=3)]
    generator = torch.Generator().manual_seed(2)
    pairs: Counter[tuple[int, ...]] = Counter()
    draws = 1500
    for _ in range(draws):
        on = strongest_path(a, groups, generator).any(dim=1)
        assert on[1]
        assert not on[4]
        assert on[5]
        pairs[tuple(edge for edge in (0, 2, 3) if on[edge])] += 1
    assert set(pairs) == {(0, 2), (0, 3), (2, 3)}
    assert chi_square(list(pairs.values()), draws / 3) < 13.8  # p = 0.001 at 2 degrees


def test_a_seed_fixes_the_path_and_leaves_the_global_generator_alone() -> None:
    a, groups = torch.full((12, 6), 0.5), [NodeGroup(tuple(range(8)), 3)]
    before = torch.get_rng_state()
    paths = [strongest_path(a, groups, torch.Generator().manual_seed(s)) for s in (7, 7, 8)]
    assert torch.equal(paths[0], paths[1])
    assert not torch.equal(paths[0], paths[2])
    assert torch.equal(torch.get_rng_state(), before)


def test_without_a_generator_the_global_seed_fixes_the_path() -> None:
    a = torch.full((12, 6), 0.5)
    paths = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        paths.append(strongest_path(a))
    assert torch.equal(paths[0], paths[1])
    assert not torch.equal(paths[0], paths[2])


def test_no_graph_no_change_to_the_input_and_the_dtype_stays() -> None:
    a = torch.tensor([[0.5, 2.0], [-1.0, -2.0]], dtype=torch.float16)
    kept = prox_c1(a)
    assert kept.dtype == torch.float16
    assert kept.tolist() == [[0.0, 2.0], [-1.0, 0.0]]
    assert prox_c(a).tolist() == [[0.0, 1.0], [0.0, 0.0]]
    assert a.tolist() == [[0.5, 2.0], [-1.0, -2.0]]


@pytest.mark.parametrize(("edges", "keep"), [((0, 1), 0), ((0, 1), 3), ((0, 1), -1), ((), 0)])
def test_a_group_keeps_at_least_one_and_at_most_all(edges: tuple[int, ...], keep: int) -> None:
    with pytest.raises(UsageError, match=rf"keeps {keep} of {len(edges)} edges: keep must be"):
        NodeGroup(edges, keep)
