"""A cell as a drawing: a place for every edge, on or off, that stays the same in every epoch.

States stand below each other. The edge from state i to state j is an arc whose top lies j - i
columns to the right, half-way between the two: no two edges share such a point, so their labels
never cover each other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import torch

from nasp.errors import UsageError
from nasp.spaces import Space
from nasp.spaces.sampling import small_supernet
from nasp.supernet.architecture import Architecture

ROW, MARGIN, LETTER = 62, 20, 7.4
"""Pixels between states, around the drawing, and of a letter."""
DRAWS = 200
"""Random architectures at most that are asked where their edges lead."""
_LOW = str.maketrans("kt-0123456789", "ₖₜ₋₀₁₂₃₄₅₆₇₈₉")


class Ends(NamedTuple):
    """Where an edge lies: in which cell, from which state to which."""

    cell: str
    source: str
    target: str


class State(NamedTuple):
    """A name beside the drawing's spine, and its height."""

    name: str
    y: float


class Edge(NamedTuple):
    """A place for an edge: its name, what people call it, its line, and where its label stands."""

    name: str
    label: str
    line: str
    x: float
    y: float


class Cell(NamedTuple):
    """A drawing; without ends its edges are a list."""

    title: str
    left: float
    width: float
    height: float
    states: list[State]
    edges: list[Edge]
    is_graph: bool


def ends_of(space: Space, seed: int = 0) -> dict[str, Ends]:
    """Return where each edge of a space leads, as far as its wiring tells.

    An edge of a random architecture is the wire that changes with its candidate.

    Args:
        space: whose wiring is asked.
        seed: of the architectures.
    """
    supernet = small_supernet(space)
    candidates = dict(zip(supernet.edges, supernet.candidates, strict=True))
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Ends] = {}
    for _ in range(DRAWS):
        if len(found) == len(candidates):
            break
        drawn = supernet.architecture(supernet.random_path(generator))
        wires = space.wiring(drawn)
        for edge in drawn.edges.keys() - found.keys():
            for other in candidates[edge] if drawn[edge] is not None else ():
                changed = Architecture({**drawn.edges, edge: other}, drawn.space)
                try:
                    gone = [wire for wire in wires if wire not in space.wiring(changed)]
                except UsageError:
                    continue
                if len(gone) == 1:
                    found[edge] = Ends(*(_subscript(name) for name in gone[0][:3]))
                    break
    return {edge: found[edge] for edge in candidates if edge in found}


def draw_cells(candidates: Mapping[str, Collection[str]], ends: Mapping[str, Ends]) -> list[Cell]:
    """Return a drawing of each cell, and one list of the edges whose ends are not known.

    Args:
        candidates: edge -> what can stand there; of all edges, in their order.
        ends: of those that are known.
    """
    cells = []
    for title in dict.fromkeys(each.cell for each in ends.values()):
        inside = {edge: e for edge, e in ends.items() if e.cell == title and edge in candidates}
        cells.append(_graph(title, inside, candidates))
    if rest := [edge for edge in candidates if edge not in ends]:
        cells.append(_list(rest, candidates))
    return cells


def _graph(title: str, ends: Mapping[str, Ends], candidates: Mapping[str, Collection[str]]) -> Cell:
    order = _in_order(list(ends.values()))
    left = MARGIN + LETTER * max(map(len, order)) + 14
    column = _label_width(candidates[edge] for edge in ends) / 2 + 6
    edges, taken = [], dict.fromkeys(ends.values(), 0)
    for edge, each in ends.items():
        start, end = order.index(each.source), order.index(each.target)
        top, bottom = MARGIN + ROW * start, MARGIN + ROW * end
        x, y = column * (end - start), (top + bottom) / 2
        # A second edge between the same two states is drawn below the first.
        y += 24 * taken[each]
        taken[each] += 1
        bend = left + x / 0.75  # at its middle a curve is three quarters of the way there
        line = f"M{left:g} {top:g}C{bend:g} {top:g} {bend:g} {bottom:g} {left:g} {bottom:g}"
        edges.append(Edge(edge, f"{each.source} → {each.target}", line, left + x, y))
    states = [State(name, MARGIN + ROW * row) for row, name in enumerate(order)]
    width = max(edge.x for edge in edges) + column + MARGIN / 2
    return Cell(title, left, width, 2 * MARGIN + ROW * (len(order) - 1), states, edges, True)


def _list(names: Sequence[str], candidates: Mapping[str, Collection[str]]) -> Cell:
    left = MARGIN + LETTER * max(map(len, names)) + 14
    half = _label_width(candidates[name] for name in names) / 2
    rows = [(name, MARGIN + 36.0 * row) for row, name in enumerate(names)]
    x = left + 26 + half
    edges = [Edge(name, name, f"M{left:g} {y:g}H{x:g}", x, y) for name, y in rows]
    height = 2 * MARGIN + 36.0 * (len(names) - 1)
    return Cell("", left, x + half + MARGIN, height, [State(*row) for row in rows], edges, False)


def _label_width(candidates: object) -> float:
    names = [name for each in candidates for name in each]  # type: ignore[attr-defined]
    return LETTER * max(map(len, names)) + 16


def _in_order(ends: Sequence[Ends]) -> list[str]:
    """Return the states, each behind all that it reads, otherwise as they are first named."""
    waiting = list(dict.fromkeys(name for each in ends for name in each[1:]))
    order: list[str] = []
    while waiting:
        ready = (n for n in waiting if not any(e.source in waiting for e in ends if e.target == n))
        order.append(next(ready, waiting[0]))
        waiting.remove(order[-1])
    return order


def _subscript(name: str) -> str:
    """Return ``c_{k-2}`` as people write it."""
    base, brace, low = name.partition("_{")
    return base + low.rstrip("}").translate(_LOW) if brace else name
