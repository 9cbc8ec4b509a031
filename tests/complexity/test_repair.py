"""The nearest architecture within bounds, against all architectures there are."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from nasp.complexity import CostTable, parameter_table
from nasp.complexity.repair import (
    cheapest,
    closest,
    leaning,
    nearest_within,
    ranked_within,
)
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice, Node
from nasp.supernet.supernet import Supernet

CANDIDATES = ("a", "b", "c")


def small(inner: bool) -> Supernet:
    """Return a node of three edges, two of which survive, and a lone edge, perhaps with a gate."""

    def choice(**more: nn.Module) -> Choice:
        return Choice({**{name: nn.Identity() for name in CANDIDATES}, **more})

    last = choice(gate=nn.Sequential(choice(), choice())) if inner else choice()
    return Supernet(nn.Sequential(Node([choice() for _ in range(3)], keep=2), last))


def with_costs(supernet: Supernet, seed: int, fixed: float = 2.0) -> CostTable:
    """Return a table of random whole costs."""
    table = parameter_table(supernet)
    generator = torch.Generator().manual_seed(seed)
    own = tuple(
        tuple(float(c) for c in torch.randint(0, 9, (len(row),), generator=generator))
        for row in table.own
    )
    return CostTable(table.tables, table.groups, own, table.parents, fixed)


def everything(supernet: Supernet) -> list[Architecture]:
    names = [table.candidates for table in supernet.tables.values() for _ in table.edges]
    (group,) = supernet.groups
    found = []
    for off in group.edges:
        kept = [(None,) if edge == off else own for edge, own in enumerate(names)]
        for each in itertools.product(*kept):
            found.append(Architecture(dict(zip(supernet.edges, each, strict=True))))
    return found


def loss(
    supernet: Supernet, table: CostTable, alphas: Mapping[str, Tensor], architecture: Architecture
) -> float:
    """Return how much alpha an architecture gives up where it matters."""
    rows = [row for name in supernet.tables for row in alphas[name].tolist()]
    names = [t.candidates for t in supernet.tables.values() for _ in t.edges]
    chosen = [
        None if (name := architecture[edge]) is None else names[e].index(name)
        for e, edge in enumerate(supernet.edges)
    ]
    (group,) = supernet.groups
    best = sorted((max(rows[e]) for e in group.edges), reverse=True)[: group.keep]
    total = sum(best)
    for edge, k in enumerate(chosen):
        parent = table.parents[edge]
        if k is None or (parent is not None and chosen[parent[0]] != parent[1]):
            continue
        total += (0.0 if edge in group.edges else max(rows[edge])) - rows[edge][k]
    return total


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.integers(1, 2), st.floats(0.0, 1.0))
def test_it_is_the_best_of_all(seed: int, inner: bool, bounds: int, share: float) -> None:
    supernet = small(inner)
    tables = [with_costs(supernet, seed + b) for b in range(bounds)]
    generator = torch.Generator().manual_seed(seed)
    alphas = {
        n: torch.rand(a.shape, generator=generator, dtype=torch.float64)
        for n, a in supernet.alphas.items()
    }
    every = everything(supernet)
    costs = [[table.of(supernet.path(each)) for table in tables] for each in every]
    columns = list(zip(*costs, strict=True))
    limits = [min(column) + share * (max(column) - min(column)) for column in columns]
    within = [
        loss(supernet, tables[0], alphas, each)
        for each, paid in zip(every, costs, strict=True)
        if all(c <= limit for c, limit in zip(paid, limits, strict=True))
    ]
    path = nearest_within(supernet, alphas, tables, limits)
    assert (path is None) == (not within)
    if path is not None:
        found = supernet.architecture(path)
        assert found in every
        assert all(t.of(path) <= limit for t, limit in zip(tables, limits, strict=True))
        assert loss(supernet, tables[0], alphas, found) == pytest.approx(min(within), abs=1e-12)
    for table, column in zip(tables, columns, strict=True):
        assert table.of(cheapest(supernet, table)) == min(column)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.floats(0.0, 1.0), st.floats(0.001, 0.3))
def test_between_two_limits_it_is_the_best_of_all_and_the_next_come_in_order(
    seed: int, inner: bool, share: float, within: float
) -> None:
    supernet = small(inner)
    table = with_costs(supernet, seed)
    generator = torch.Generator().manual_seed(seed)
    alphas = {
        n: torch.rand(a.shape, generator=generator, dtype=torch.float64)
        for n, a in supernet.alphas.items()
    }
    every = everything(supernet)
    costs = {each: table.of(supernet.path(each)) for each in every}
    target = min(costs.values()) + share * (max(costs.values()) - min(costs.values()))
    least, most = target * (1 - within), target * (1 + within)
    inside = [a for a, cost in costs.items() if least <= cost <= most]
    # Of those that differ in what is not chosen alone, the ranking has one.
    losses = sorted({round(loss(supernet, table, alphas, each), 9) for each in inside})
    found = list(itertools.islice(ranked_within(supernet, alphas, [table], [most], [least]), 8))
    assert all(least * (1 - 1e-8) <= table.of(path) <= most * (1 + 1e-8) for path in found)
    ranked = [loss(supernet, table, alphas, supernet.architecture(path)) for path in found]
    assert ranked == pytest.approx(losses[:8], abs=1e-8)
    assert len(set(found)) == len(found)
    nearest = table.of(closest(supernet, table, target))
    best = min(abs(cost - target) for cost in costs.values())
    assert abs(nearest - target) <= best + 1e-3 * target + 1e-9


def test_without_a_limit_it_is_the_strongest_path() -> None:
    supernet = small(inner=True)
    table = with_costs(supernet, 0)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        alphas = {n: torch.rand(a.shape, generator=generator) for n, a in supernet.alphas.items()}
        nearest = nearest_within(supernet, alphas, [table], [float("inf")])
        assert nearest == supernet.discretise(alphas)


def test_it_leans_to_what_is_held() -> None:
    supernet = small(inner=True)
    table = with_costs(supernet, 0)
    for seed in range(20):
        generator = torch.Generator().manual_seed(seed)
        alphas = {n: torch.rand(a.shape, generator=generator) for n, a in supernet.alphas.items()}
        held = supernet.random_path(generator)
        leant = leaning(supernet, alphas, held)
        assert supernet.discretise(leant) == held
        assert nearest_within(supernet, leant, [table], [float("inf")]) == held
        for name, row in supernet.one_hot(held).items():
            off = ~row.bool()
            assert torch.equal(leant[name][off], alphas[name][off])


def test_there_may_be_none() -> None:
    supernet = small(inner=False)
    table = with_costs(supernet, 0, fixed=100.0)
    assert nearest_within(supernet, supernet.alphas, [table], [99.0]) is None


@pytest.mark.parametrize("kinds", [1, 2])
def test_the_best_of_many_that_nearly_tie(kinds: int) -> None:
    choices = [Choice({"a": nn.Identity(), "b": nn.Tanh()}) for _ in range(14)]
    supernet = Supernet(nn.Sequential(*choices))
    generator = torch.Generator().manual_seed(0)
    tables = []
    for _ in range(kinds):
        table = parameter_table(supernet)
        own = tuple((0.0, float(torch.rand((), generator=generator))) for _ in table.own)
        tables.append(CostTable(table.tables, table.groups, own, table.parents, 0.0))
    alphas = {
        n: torch.tensor([[0.0, float(torch.rand((), generator=generator))]])
        for n in supernet.alphas
    }
    limits = [3.0] * kinds
    path = nearest_within(supernet, alphas, tables, limits)
    assert path is not None
    assert all(table.of(path) <= 3.0 for table in tables)
    kept = sum(float(alphas[e][0, 1]) for e, k in zip(supernet.edges, path, strict=True) if k)
    worth = [float(alphas[edge][0, 1]) for edge in supernet.edges]
    best = max(
        sum(worth[i] for i in on)
        for size in range(15)
        for on in itertools.combinations(range(14), size)
        if all(sum(table.own[i][1] for i in on) <= 3.0 for table in tables)
    )
    assert kept == pytest.approx(best, abs=1e-9)


@pytest.mark.parametrize("size", [1e-9, 1.0, 1e12])
def test_a_limit_is_kept_to_the_last_digit_whatever_its_unit(size: float) -> None:
    """A solver's tolerance must not let through what is too dear by one part in a million."""
    choices = [Choice({"a": nn.Identity(), "b": nn.Tanh()}) for _ in range(3)]
    supernet = Supernet(nn.Sequential(*choices))
    table = parameter_table(supernet)
    own = tuple((0.0, size * (1 + 2e-8 * edge)) for edge in range(3))
    table = CostTable(table.tables, table.groups, own, table.parents, 0.0)
    alphas = {name: torch.tensor([[0.0, 1.0 + k / 10]]) for k, name in enumerate(supernet.tables)}
    assert nearest_within(supernet, alphas, [table], [2 * size * (1 + 1e-8)]) == (1, 1, 0)
    assert nearest_within(supernet, alphas, [table], [2 * size * (1 + 2e-8)]) == (1, 0, 1)
    assert nearest_within(supernet, alphas, [table], [2 * size * (1 + 3e-8)]) == (0, 1, 1)


def test_what_never_survives_is_no_way_to_be_cheap() -> None:
    candidates = {"none": nn.Identity(), "a": nn.Linear(2, 2), "b": nn.Linear(2, 2, bias=False)}
    supernet = Supernet(Choice(candidates, search_only=["none"]))
    table = parameter_table(supernet)
    alphas = {"network": torch.tensor([[0.9, 0.5, 0.1]])}
    assert nearest_within(supernet, alphas, [table], [9.0]) == (1,)
    assert nearest_within(supernet, alphas, [table], [4.0]) == (2,)
    assert nearest_within(supernet, alphas, [table], [3.0]) is None
    assert cheapest(supernet, table) == (2,)
