"""Drawn cells: every edge has a place, of its own, and leads where the space says."""

from __future__ import annotations

from functools import cache
from itertools import combinations

import pytest

from nasp.report.cells import LETTER, Cell, Ends, draw_cells, ends_of
from nasp.spaces import find_space, space_names
from nasp.spaces.sampling import random_architecture, small_supernet

LABEL_HEIGHT = 20


@cache
def ends(name: str) -> dict[str, Ends]:
    return ends_of(find_space(name))


@cache
def drawn(name: str) -> list[Cell]:
    supernet = small_supernet(find_space(name))
    candidates = dict(zip(supernet.edges, supernet.candidates, strict=True))
    return draw_cells(candidates, ends(name))


@pytest.mark.parametrize("name", space_names())
def test_every_edge_has_a_place_inside_its_drawing(name: str) -> None:
    cells = drawn(name)
    placed = [edge.name for cell in cells for edge in cell.edges]
    assert sorted(placed) == sorted(small_supernet(find_space(name)).edges)
    for cell in cells:
        assert all(0 < e.x < cell.width and 0 < e.y < cell.height for e in cell.edges)


@pytest.mark.parametrize("name", ["darts", "nasbench201", "recurrent"])
def test_labels_do_not_cover_each_other(name: str) -> None:
    supernet = small_supernet(find_space(name))
    longest = max(len(name) for names in supernet.candidates for name in names)
    for cell in drawn(name):
        for one, other in combinations(cell.edges, 2):
            is_beside = abs(one.x - other.x) >= LETTER * longest + 16
            assert is_beside or abs(one.y - other.y) >= LABEL_HEIGHT, (one, other)


@pytest.mark.parametrize("name", ["darts", "nasbench201", "recurrent"])
def test_edges_lead_where_the_wiring_says(name: str) -> None:
    space, known = find_space(name), ends(name)
    architecture = random_architecture(space, 5)
    on = {edge: op for edge, op in architecture.edges.items() if op not in (None, "none")}
    assert known.keys() == architecture.edges.keys()
    found = sorted((*known[edge], operation) for edge, operation in on.items())
    people = {"c_{k-2}": "cₖ₋₂", "c_{k-1}": "cₖ₋₁"}
    wires = [
        (wire.cell, *(people.get(name, name) for name in wire[1:3]), wire.operation)
        for wire in space.wiring(architecture)
    ]
    assert found == sorted(wires)


def test_states_stand_below_what_they_read() -> None:
    for cell in drawn("darts"):
        assert [state.name for state in cell.states[:3]] == ["cₖ₋₂", "cₖ₋₁", "node 0"]
        assert all(edge.line.startswith("M") for edge in cell.edges)


def test_choices_without_known_ends_are_a_list() -> None:
    (cell,) = draw_cells({"body.0": ["a"], "body.2": ["long name"]}, {})
    assert not cell.is_graph
    assert [state.name for state in cell.states] == ["body.0", "body.2"]
    assert cell.edges[0].y < cell.edges[1].y
