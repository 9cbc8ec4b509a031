"""What a repeat from Python ends with."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from nasp.bench.contests.repeat.spread import beats, spread
from nasp.bilevel.found import SELECTION, Found
from nasp.bilevel.selection import Contender, Selection
from nasp.supernet.architecture import Architecture


@dataclass(frozen=True)
class Repeated:
    """What the same search found by several seeds, and how it stands beside chance.

    Attributes:
        seeds: of the searches.
        found: what each found.
        random: architectures that were drawn, and trained beside what was found.
        selection: all that were trained under one budget, the best first.
        agreement: in what share of the edges two seeds agree, in the mean.
        chance: in what share two random architectures do.
    """

    seeds: tuple[int, ...]
    found: tuple[Found, ...]
    random: tuple[Architecture, ...]
    selection: Selection
    agreement: float
    chance: float

    @cached_property
    def best(self) -> Found:
        """The best of what was found; ``.build("trained")`` has the weights of the trainings.

        Where a random network won, see `better`, these weights are that one's, and not here.
        """
        found = {each.architecture: each for each in reversed(self.found)}
        architecture = next(a for a in self._ranked if a in found)
        is_first = architecture == self.selection.winner
        return replace(
            found[architecture],
            selection=self.selection if is_first else None,
            decided_by=SELECTION,
        )

    @property
    def best_seed(self) -> int:
        """The first seed that found it."""
        found = [each.architecture for each in self.found]
        return self.seeds[found.index(self.best.architecture)]

    @property
    def better(self) -> Architecture | None:
        """A random architecture that did better than all that was found; None: none did."""
        winner = self.selection.winner
        return None if winner in {each.architecture for each in self.found} else winner

    @property
    def _ranked(self) -> list[Architecture]:
        return [contender.architecture for contender in self.selection.contenders]

    def __repr__(self) -> str:
        """Return in a few lines what was found, how far it lies apart, and what chance does."""
        figures = {each.architecture: each for each in self.selection.contenders}
        own = [figures[each.architecture] for each in self.found if each.architecture in figures]
        others = [figures[each] for each in self.random]
        many = len({each.architecture for each in self.found})
        lines = [
            f"{len(self.seeds)} seeds found {many} architecture{'s' * (many > 1)}; two seeds agree"
            f" in {self.agreement:.0%} of the edges, two random ones in {self.chance:.0%}",
        ]
        epochs = self.selection.schedule[0].epochs if self.selection.schedule else 0
        for who, rows in (("found", own), ("random", others)) if epochs else ():
            if (over := spread(_rows(rows), 1)) is not None:
                lines.append(
                    f"  {who}: score after {epochs} epoch{'s' * (epochs > 1)} {over['mean']:.4g} ±"
                    f" {over['std']:.2g},"
                    f" worst {over['worst']:.4g}"
                )
        if (share := beats(_rows(own), _rows(others), 1)) is not None:
            lines.append(f"  found is better than random in {share:.0%} of the pairs")
        if self.better is not None:
            lines.append("  a random network did better than all that was found: see .better")
        lines.append(f"  best: that of seed {self.best_seed}; next: .best, .best.build()")
        return "\n".join(lines)


def _rows(contenders: Iterable[Contender]) -> list[dict[str, Any]]:
    """Return scores rung by rung, as `spread` reads them; None of what diverged."""
    return [
        {"figures": [s if math.isfinite(s := rung["score"]) else None for rung in each.rungs]}
        for each in contenders
    ]
