"""Where a search has been: how often each discrete architecture was the current one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nasp.supernet.architecture import Architecture
from nasp.supernet.path import Path
from nasp.supernet.supernet import Supernet


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
        self._counts: dict[Path, int] = {}
        self._epoch_ends: list[Path] = []

    def step(self, path: Path) -> None:
        """Take note of the path after a step."""
        self._done += 1
        if 2 * self._done > self.steps:
            # Anew at the end: of those with equal counts the latest visited comes first.
            self._counts[path] = self._counts.pop(path, 0) + 1

    def end_epoch(self, path: Path) -> None:
        """Take note of the path at the end of an epoch."""
        self._epoch_ends.append(path)

    def count(self, architecture: Architecture) -> int:
        """Return in how many steps of the second half this was the architecture."""
        return self._counts.get(self.supernet.path(architecture), 0)

    def epochs(self, architecture: Architecture) -> tuple[int, ...]:
        """Return at the end of which epochs, from 1, this was the architecture."""
        path = self.supernet.path(architecture)
        return tuple(i for i, end in enumerate(self._epoch_ends, 1) if end == path)

    def propose(self, count: int) -> list[Architecture]:
        """Return the epochs' last architectures and the most visited, in turn.

        The former from the last epoch back, the latter from the most visited down; all distinct,
        `count` at most.
        """
        ends = list(dict.fromkeys(reversed(self._epoch_ends)))
        latest_first = reversed(list(self._counts.items()))
        visited = [path for path, _ in sorted(latest_first, key=lambda item: -item[1])]
        chosen = list(dict.fromkeys(_in_turn(ends, visited)))[:count]
        return [self.supernet.architecture(path) for path in chosen]

    def state_dict(self) -> dict[str, Any]:
        """Return all counts."""
        return {
            "done": self._done,
            "visited": [list(path) for path in self._counts],
            "counts": list(self._counts.values()),
            "epoch_ends": [list(path) for path in self._epoch_ends],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self._done = state["done"]
        visited = map(tuple, state["visited"])
        self._counts = dict(zip(visited, state["counts"], strict=True))
        self._epoch_ends = [tuple(path) for path in state["epoch_ends"]]


def _in_turn(one: list[Path], other: list[Path]) -> Iterator[Path]:
    for index in range(max(len(one), len(other))):
        yield from one[index : index + 1]
        yield from other[index : index + 1]
