"""How a search's path and alphas moved, epoch by epoch, and what each edge could have been."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nasp.bilevel.history import ALPHAS, averaged
from nasp.runs.checkpoints import last_state
from nasp.runs.folder import RunFolder, json_object, load_tensors
from nasp.spaces import Space
from nasp.spaces.sampling import small_supernet
from nasp.supernet.architecture import Architecture


class Stop(NamedTuple):
    """The path at the end of an epoch, or what was found.

    Attributes:
        label: ``epoch 3``, or ``found``.
        epoch: whose alphas belong to it.
        path: edge -> candidate, None for off.
    """

    label: str
    epoch: int
    path: dict[str, str | None]


class Grid(NamedTuple):
    """The alphas of edges with the same candidates, or their average.

    Attributes:
        title: what its entries are.
        edges: its rows.
        candidates: its columns.
        entries: for each epoch, from the start on, rows of numbers.
        low: the smallest entry of all epochs.
        high: the largest.
    """

    title: str
    edges: list[str]
    candidates: list[str]
    entries: list[list[list[float]]]
    low: float
    high: float


class Moves(NamedTuple):
    """All that the scrubber goes through.

    Attributes:
        candidates: edge -> what could stand there.
        stops: in order of time.
        grids: none where the strategy moves no alphas, or none were kept.
    """

    candidates: dict[str, list[str]]
    stops: list[Stop]
    grids: list[Grid]


def read_moves(run: RunFolder, space: Space | None, lines: Sequence[Mapping[str, Any]]) -> Moves:
    """Return how a search moved, as far as it got.

    Args:
        run: of a search.
        space: that was searched, where it is known by name.
        lines: of its metrics, one for each epoch that is shown.
    """
    stops = [Stop(f"epoch {line['epoch']}", line["epoch"], line["architecture"]) for line in lines]
    if run.architecture_path.is_file():
        found = Architecture.load(run.architecture_path)
        stops.append(Stop("found", len(lines), dict(found.edges)))
    tables = _tables(run, space)
    history = _history(run)
    candidates = {edge: names for edges, names in tables.values() for edge in edges}
    for stop in stops:  # of a folder that does not say: what was seen
        for edge, name in stop.path.items():
            names = candidates.setdefault(edge, [])
            if name is not None and name not in names:
                names.append(name)
    return Moves(candidates, stops, _grids(tables, history, len(lines)))


Tables = Mapping[str, tuple[list[str], list[str]]]


def _tables(run: RunFolder, space: Space | None) -> Tables:
    """Return table -> edges and candidates; an older folder does not hold them."""
    if run.choices_path.is_file():
        content = json_object(run.choices_path)
        return {name: (each["edges"], each["candidates"]) for name, each in content.items()}
    if space is None:
        return {}
    tables = small_supernet(space).tables.items()
    return {name: (list(table.edges), list(table.candidates)) for name, table in tables}


def _history(run: RunFolder) -> Mapping[str, Tensor]:
    if (run.path / ALPHAS).is_file():
        return load_tensors(run.path / ALPHAS)
    snapshots = last_state(run).get("history", {}).get("snapshots", [])
    names = snapshots[0] if snapshots else ()
    return {name: torch.stack([each[name] for each in snapshots]) for name in names}


def _grids(tables: Tables, history: Mapping[str, Tensor], epochs: int) -> list[Grid]:
    alike: dict[tuple[str, tuple[str, ...]], list[tuple[str, Tensor]]] = {}
    averages = averaged(history)
    for name, (_, candidates) in tables.items():
        moved = [averages[name]] if name in averages else []
        moved += [("alphas", history[name])] if name in history else []
        for words, tensor in moved:
            # A killed run may hold one snapshot more than lines; a strategy may move nothing.
            if (tensor != tensor[0]).any():
                title = words[0].upper() + words[1:]
                alike.setdefault((title, tuple(candidates)), []).append((name, tensor))
    grids = []
    for (title, names), those in alike.items():
        entries = torch.cat([tensor[: epochs + 1] for _, tensor in those], dim=1)
        edges = [edge for name, _ in those for edge in tables[name][0]]
        low, high = float(entries.min()), float(entries.max())
        grids.append(Grid(title, edges, list(names), entries.tolist(), low, high))
    return grids
