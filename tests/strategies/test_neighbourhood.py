"""Paths one change apart: two edges, and a node of three edges of which two stay."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn

from nasp.strategies.neighbourhood import random_neighbour, units, with_unit
from nasp.supernet.choice import Choice, Node
from nasp.supernet.supernet import Alphas, Supernet


def supernet_of(candidates: int) -> Supernet:
    edges = [Choice({str(k): nn.Identity() for k in range(candidates)}) for _ in range(5)]
    return Supernet(nn.Sequential(edges[0], Node(edges[1:4], 2), edges[4]))


def changed_units(supernet: Supernet, one: Alphas, other: Alphas) -> list[int]:
    differs = torch.cat([(one[name] != other[name]).any(dim=1) for name in one])
    numbers: Tensor = units(supernet)[differs].unique()
    return [int(number) for number in numbers]


def test_the_edges_of_a_node_are_one_unit() -> None:
    supernet = supernet_of(3)
    numbers = dict(zip(supernet.edges, units(supernet).tolist(), strict=True))
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
        on = torch.cat([neighbour[name].sum(dim=1) for name in supernet.tables])
        assert sorted(on.tolist()) == [0, 1, 1, 1, 1]
    assert counts.total() > 590  # now and then a path is drawn as it is
    # The node is drawn apart in 26 of 27 times, an edge in 2 of 3.
    assert set(counts) == set(units(supernet).tolist())
    assert all(count > 120 for count in counts.values())


def test_where_there_is_one_path_it_is_its_own_neighbour() -> None:
    supernet = Supernet(nn.Sequential(Choice({"only": nn.Identity()})))
    path = supernet.random_path()
    neighbour = random_neighbour(supernet, path, torch.Generator())
    assert all(torch.equal(neighbour[name], path[name]) for name in path)


def test_one_unit_is_taken_over() -> None:
    supernet = supernet_of(2)
    generator = torch.Generator().manual_seed(1)
    path, other = supernet.random_path(generator), supernet.random_path(generator)
    for unit in units(supernet).unique():
        mixed = with_unit(supernet, path, other, unit)
        assert changed_units(supernet, path, mixed) in ([], [int(unit)])
        assert int(unit) not in changed_units(supernet, other, mixed)
