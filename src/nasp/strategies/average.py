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
        self.before_half, self.half = self._nothing(), self._nothing()

    def add(self, path: Path) -> None:
        """Count the path that a step led to."""
        for name, point in self.supernet.one_hot(path).items():
            self.now[name] += point
        self.steps += 1
        begun, end = self._stretch()
        if self.steps == (begun + end) // 2:
            self.half = {name: visits.clone() for name, visits in self.now.items()}
        if self.steps == end:
            self.before, self.now = self.now, self._nothing()
            self.before_half, self.half = self.half, self._nothing()

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
        return _scores(self._visits(), self.counted)

    def agreement(self) -> float | None:
        """Return how alike the two halves of the last whole stretch rank paths: -1 to 1.

        It is the correlation of the scores that each half alone would give over uniformly drawn
        paths, each edge by itself. None before a stretch of two steps is whole.
        """
        last = [0, *(end for end in self.ends if end <= self.steps)]
        count = last[-1] - last[-2] if len(last) > 1 else 0
        if count < 2:
            return None
        halves = self.before_half, {n: self.before[n] - self.before_half[n] for n in self.before}
        first, second = (
            _scores(half, steps)
            for half, steps in zip(halves, (count // 2, count - count // 2), strict=True)
        )
        return over_paths(first, second)

    def _stretch(self) -> tuple[int, int]:
        """Return when the stretch of the last step began, and when it ends."""
        before = [0, *(end for end in self.ends if end < self.steps)]
        after = [end for end in self.ends if end >= self.steps]
        return before[-1], after[0] if after else self.steps + 1

    def _visits(self) -> Alphas:
        return {name: self.before[name] + self.now[name] for name in self.now}

    def _nothing(self) -> Alphas:
        alphas = self.supernet.alphas.items()
        return {n: torch.zeros(a.shape, dtype=torch.float64, device="cpu") for n, a in alphas}

    def state_dict(self) -> dict[str, Any]:
        """Return the visits of both stretches, and the count of steps."""
        stretches = "before", "now", "before_half", "half"
        return {"steps": self.steps, **{name: getattr(self, name) for name in stretches}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.steps = state["steps"]
        for stretch in ("before", "now", "before_half", "half"):
            for name, visits in state[stretch].items():
                getattr(self, stretch)[name] = visits.clone()


def over_paths(first: Alphas, second: Alphas) -> float | None:
    """Return the correlation of two sums of candidates' scores over uniformly drawn paths.

    Each edge is drawn by itself, so it is that of the scores less their edge's mean.

    Args:
        first: table -> ``[edges, candidates]``.
        second: the same tables.

    Returns:
        -1 to 1; None where one of the two says the same of all paths.
    """
    flat = [torch.cat([_centred(scores[name]) for name in first]) for scores in (first, second)]
    scale = float(flat[0].norm() * flat[1].norm())
    return float(flat[0] @ flat[1]) / scale if scale > 0 else None


def _scores(visits: Alphas, counted: int) -> Alphas:
    scores = {}
    for name, of_table in visits.items():
        off = counted - of_table.sum(dim=1, keepdim=True)
        scores[name] = (of_table + 0.5).log() - (off + 0.5).log()
    return scores


def _centred(scores: torch.Tensor) -> torch.Tensor:
    """Return scores less their edge's mean, which all candidates share."""
    scores = scores.detach().double().cpu()
    return (scores - scores.mean(dim=1, keepdim=True)).flatten()
