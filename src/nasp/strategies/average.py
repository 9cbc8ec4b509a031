"""The average of the discrete points that a search passes: how often each candidate was chosen."""

from __future__ import annotations

from typing import Any

import torch

from nasp.supernet.path import Path
from nasp.supernet.supernet import Alphas, Supernet


class Average:
    """The mean of the discrete points of the last part of a search.

    Visits are counted in two stretches, the one under way and the one before it. A stretch ends
    when (1 - share)^j of all steps are done, for every j. So the two together hold at least the
    last `share` of the steps so far, and at the end of the search exactly that.

    Args:
        supernet: whose paths are counted.
        steps: of the search in all.
        share: of the steps, at the search's end, over which the mean is taken; above 0.
    """

    def __init__(self, supernet: Supernet, steps: int, share: float) -> None:
        self.supernet = supernet
        self.steps = 0
        self.ends: list[int] = []
        while steps > 0:
            self.ends.insert(0, steps)
            steps = min(steps - 1, int(steps * (1 - share)))
        self.before, self.now = self._nothing(), self._nothing()

    def add(self, path: Path) -> None:
        """Count the path that a step led to."""
        for name, point in self.supernet.one_hot(path).items():
            self.now[name] += point
        self.steps += 1
        if self.steps in self.ends:
            self.before, self.now = self.now, self._nothing()

    @property
    def counted(self) -> int:
        """Of how many steps the mean is."""
        return self.steps - ([0, 0] + [end for end in self.ends if end <= self.steps])[-2]

    def shares(self) -> Alphas:
        """Return the mean discrete point: in what share of the steps each candidate was on.

        Table -> ``[edges, candidates]``. A row adds up to the share of steps in which its node
        kept the edge: 1 for an edge in no node group. Before the first step all is 0.
        """
        return {name: visits / max(self.counted, 1) for name, visits in self._visits().items()}

    def scores(self) -> Alphas:
        """Return by what candidates and edges are ranked: log((n_k + ½) / (n_off + ½)).

        n_k are the steps in which candidate k was on, n_off those in which its edge was off. The
        path of the largest sum is the likeliest, if edges are drawn as often as they were visited.
        """
        scores = {}
        for name, visits in self._visits().items():
            off = self.counted - visits.sum(dim=1, keepdim=True)
            scores[name] = (visits + 0.5).log() - (off + 0.5).log()
        return scores

    def _visits(self) -> Alphas:
        return {name: self.before[name] + self.now[name] for name in self.now}

    def _nothing(self) -> Alphas:
        alphas = self.supernet.alphas.items()
        return {n: torch.zeros(a.shape, dtype=torch.float64, device="cpu") for n, a in alphas}

    def state_dict(self) -> dict[str, Any]:
        """Return the visits of both stretches, and the count of steps."""
        return {"steps": self.steps, "before": self.before, "now": self.now}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.steps = state["steps"]
        for name in self.now:
            self.before[name] = state["before"][name].clone()
            self.now[name] = state["now"][name].clone()
