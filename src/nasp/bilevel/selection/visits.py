"""Where a search has been: how often each discrete architecture was the current one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Supernet

Key = tuple[int, ...]  # an edge's candidate, numbered from 1; 0 where it is off


class Visits:
    """Counts the architectures of the second half of a search, and remembers the epochs' last.

    The first half is left out of the counts: what an architecture was while the weights were
    still raw says little.

    Args:
        supernet: names the edges and candidates.
        steps: of the search in all.
    """

    def __init__(self, supernet: Supernet, steps: int) -> None:
        self.supernet = supernet
        self.steps = steps
        self._done = 0
        self._counts: dict[Key, int] = {}
        self._epoch_ends: list[Key] = []

    def step(self, architecture: Architecture) -> None:
        """Take note of the architecture after a step."""
        self._done += 1
        if 2 * self._done > self.steps:
            key = self._key(architecture)
            # Anew at the end: of those with equal counts the latest visited comes first.
            self._counts[key] = self._counts.pop(key, 0) + 1

    def end_epoch(self, architecture: Architecture) -> None:
        """Take note of the architecture at the end of an epoch."""
        self._epoch_ends.append(self._key(architecture))

    def count(self, architecture: Architecture) -> int:
        """Return in how many steps of the second half this was the architecture."""
        return self._counts.get(self._key(architecture), 0)

    def epochs(self, architecture: Architecture) -> tuple[int, ...]:
        """Return at the end of which epochs, from 1, this was the architecture."""
        key = self._key(architecture)
        return tuple(i for i, end in enumerate(self._epoch_ends, 1) if end == key)

    def propose(self, count: int) -> list[Architecture]:
        """Return the epochs' last architectures and the most visited, in turn.

        The former from the last epoch back, the latter from the most visited down; all distinct,
        `count` at most.
        """
        ends = list(dict.fromkeys(reversed(self._epoch_ends)))
        latest_first = reversed(list(self._counts.items()))
        visited = [key for key, _ in sorted(latest_first, key=lambda item: -item[1])]
        chosen = list(dict.fromkeys(_in_turn(ends, visited)))[:count]
        return [self._architecture(key) for key in chosen]

    def state_dict(self) -> dict[str, Any]:
        """Return all counts."""
        return {
            "done": self._done,
            "visited": torch.tensor(list(self._counts), dtype=torch.int16),
            "counts": list(self._counts.values()),
            "epoch_ends": torch.tensor(self._epoch_ends, dtype=torch.int16),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self._done = state["done"]
        visited = map(tuple, state["visited"].tolist())
        self._counts = dict(zip(visited, state["counts"], strict=True))
        self._epoch_ends = [tuple(key) for key in state["epoch_ends"].tolist()]

    def _key(self, architecture: Architecture) -> Key:
        return tuple(
            0 if (name := architecture[edge]) is None else 1 + table.candidates.index(name)
            for table in self.supernet.tables.values()
            for edge in table.edges
        )

    def _architecture(self, key: Key) -> Architecture:
        rows = ((edge, t.candidates) for t in self.supernet.tables.values() for edge in t.edges)
        edges = {
            edge: None if number == 0 else candidates[number - 1]
            for (edge, candidates), number in zip(rows, key, strict=True)
        }
        return Architecture(edges, self.supernet.space)


def _in_turn(one: list[Key], other: list[Key]) -> Iterator[Key]:
    for index in range(max(len(one), len(other))):
        yield from one[index : index + 1]
        yield from other[index : index + 1]
