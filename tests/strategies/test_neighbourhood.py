"""Paths one change apart: two edges, and a node of three edges of which two stay."""

from __future__ import annotations

from collections import Counter

import torch
from torch import nn

from nasp.strategies.neighbourhood import changed_units, random_neighbour, units, with_unit
from nasp.supernet.choice import Choice, Node
from nasp.supernet.supernet import Supernet


def supernet_of(candidates: int) -> Supernet:
    edges = [Choice({str(k): nn.Identity() for k in range(candidates)}) for _ in range(5)]
    return Supernet(nn.Sequential(edges[0], Node(edges[1:4], 2), edges[4]))


def test_the_edges_of_a_node_are_one_unit() -> None:
    supernet = supernet_of(3)
    numbers = dict(zip(supernet.edges, units(supernet), strict=True))
    node = [number for name, number in numbers.items() if name.startswith("1.")]
    assert len(node) == 3
    assert len(set(node)) == 1
    assert len(set(numbers.values())) == 3


def test_a_neighbour_is_a_path_with_one_change_and_each_unit_changes_as_often() -> None:
    supernet = supernet_of(3)
    generator = torch.Generator().manual_seed(0)
    path = supernet.random_path(generator)
    counts: Counter[int] = Counter()
    for _ in range(600):
        neighbour = random_neighbour(supernet, path, generator)
        counts.update(changed_units(supernet, path, neighbour))
        supernet.single(neighbour)  # is discrete, and keeps two edges of the node
        off = [edge for edge, k in enumerate(neighbour) if k is None]
        assert len(off) == 1
        assert 1 <= off[0] <= 3
    assert counts.total() > 590  # now and then a path is drawn as it is
    # The node is drawn apart in 26 of 27 times, an edge in 2 of 3.
    assert set(counts) == set(units(supernet))
    assert all(count > 120 for count in counts.values())


def test_where_there_is_one_path_it_is_its_own_neighbour() -> None:
    supernet = Supernet(nn.Sequential(Choice({"only": nn.Identity()})))
    path = supernet.random_path()
    assert random_neighbour(supernet, path, torch.Generator()) == path == (0,)


def test_one_unit_is_taken_over() -> None:
    supernet = supernet_of(2)
    generator = torch.Generator().manual_seed(1)
    path, other = supernet.random_path(generator), supernet.random_path(generator)
    for unit in set(units(supernet)):
        mixed = with_unit(supernet, path, other, unit)
        assert changed_units(supernet, path, mixed) in ([], [unit])
        assert unit not in changed_units(supernet, other, mixed)
