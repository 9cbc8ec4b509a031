"""What a search keeps of its last part: what candidates gain in the mean, or the mean point."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import partial
from typing import Any, ClassVar

import torch

from nasp.strategies.interactions import MOST, Fit, Interactions
from nasp.supernet.supernet import Alphas, Supernet

SHOWN = {"gains": "what each would take off the loss", "shares": "how often each was chosen"}
"""What a reader is shown of an average, in words."""


class Average(ABC):
    """The mean over the last part of a search of what each step said of every candidate.

    Sums are kept in two stretches, the one under way and the one before it. A stretch ends when
    (1 - share)^j of all steps are done, for every j. So the two together hold at least the last
    `share` of the steps so far, and at the end of the search exactly that.

    Args:
        supernet: whose candidates they are.
        steps: of the search in all.
        share: of the steps, at the search's end, over which the mean is taken; above 0.
    """

    shows: ClassVar[str]
    """What `shown` returns: a name in `SHOWN`."""
    figures: ClassVar[int]
    """That a step has for each candidate."""

    def __init__(self, supernet: Supernet, steps: int, share: float) -> None:
        self.supernet = supernet
        self.steps = 0
        self.ends: list[int] = []
        while steps > 0:
            self.ends.insert(0, steps)
            steps = min(steps - 1, int(steps * (1 - share)))
        self.before, self.now = self._nothing(), self._nothing()
        self.before_half, self.half = self._nothing(), self._nothing()

    def add(self, values: Alphas) -> None:
        """Take note of a step.

        Args:
            values: table -> ``[figures, edges, candidates]``; empty where it says nothing.
        """
        for name, value in values.items():
            self.now[name] += value
        self.steps += 1
        begun, end = self._stretch()
        if self.steps == (begun + end) // 2:
            self.half = {name: total.clone() for name, total in self.now.items()}
        if self.steps == end:
            self._end_stretch()

    def _end_stretch(self) -> None:
        self.before, self.now = self.now, self._nothing()
        self.before_half, self.half = self.half, self._nothing()

    @property
    def counted(self) -> int:
        """Of how many steps the mean is."""
        return self.steps - ([0, 0] + [end for end in self.ends if end <= self.steps])[-2]

    @abstractmethod
    def shown(self) -> Alphas:
        """Return what a reader is shown: table -> ``[edges, candidates]``. At first all is 0."""

    def scores(self) -> Alphas:
        """Return by what candidates and edges are ranked: the result has the largest sum."""
        return self._ranking(self._sums(), self.counted)

    @abstractmethod
    def _ranking(self, sums: Alphas, counted: int) -> Alphas:
        """Return the scores that follow from the sums over so many steps."""

    def agreement(self) -> float | None:
        """Return how alike two halves of the averaged steps rank paths: -1 to 1.

        It is the correlation of the scores that each half alone would give over uniformly drawn
        paths, each edge by itself. They are those of the last whole stretch, or, once the one under
        way has as many steps, that one and it. None before a stretch of two steps is whole.
        """
        last = [0, *(end for end in self.ends if end <= self.steps)]
        count, more = last[-1] - last[-2] if len(last) > 1 else 0, self.steps - last[-1]
        if count < 2:
            return None
        if more >= count:
            return over_paths(self._ranking(self.before, count), self._ranking(self.now, more))
        rest = {name: self.before[name] - self.before_half[name] for name in self.before}
        halves = (
            self._ranking(self.before_half, count // 2),
            self._ranking(rest, count - count // 2),
        )
        return over_paths(*halves)

    def _stretch(self) -> tuple[int, int]:
        """Return when the stretch of the last step began, and when it ends."""
        before = [0, *(end for end in self.ends if end < self.steps)]
        after = [end for end in self.ends if end >= self.steps]
        return before[-1], after[0] if after else self.steps + 1

    def _sums(self) -> Alphas:
        return {name: self.before[name] + self.now[name] for name in self.now}

    def _nothing(self) -> Alphas:
        alphas = self.supernet.alphas.items()
        zeros = partial(torch.zeros, dtype=torch.float64, device="cpu")
        return {name: zeros(self.figures, *a.shape) for name, a in alphas}

    def state_dict(self) -> dict[str, Any]:
        """Return the sums of both stretches, the count of steps, and what they are of."""
        stretches = {n: getattr(self, n) for n in ("before", "now", "before_half", "half")}
        return {"of": self.shows, "steps": self.steps, **stretches}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned.

        Raises:
            ValueError: it is of another average, such as that of an earlier version.
        """
        if state.get("of") != self.shows:
            raise ValueError(f"the average there is not of {self.shows}")
        self.steps = state["steps"]
        for stretch in ("before", "now", "before_half", "half"):
            for name, total in state[stretch].items():
                getattr(self, stretch)[name] = total.clone()


class MeanGain(Average):
    """What taking each candidate instead of the chosen one takes off F, by the mean of gradients.

    At a discrete point Ā that has candidate c on an edge, k instead of c changes the loss by
    ∂L/∂ā_k - ∂L/∂ā_c, to first order. The gain of k is minus the mean of that over the steps that
    had another candidate than k there; of one that was always chosen it is 0. To all of an edge is
    added what its chosen ones gain over nothing, minus the mean of ∂L/∂ā_c, by which a node ranks
    its edges. η R is as it is at discrete points: its own gradient says nothing of candidates that
    are not chosen. Without leaving steps out it would be minus the mean gradient: dual averaging
    (Nesterov, 2009; Xiao, JMLR 2010).

    Args:
        supernet: see `Average`.
        steps: see `Average`.
        share: see `Average`.
        prices: what η R adds for each candidate that is chosen; default nothing.
    """

    shows: ClassVar[str] = "gains"
    figures: ClassVar[int] = 3

    def __init__(
        self, supernet: Supernet, steps: int, share: float, prices: Alphas | None = None
    ) -> None:
        super().__init__(supernet, steps, share)
        self.prices = prices or {}
        self.together_before, self.together = self._unmet(), self._unmet()

    def add_step(self, point: Alphas, gradients: Alphas | None) -> None:
        """Take note of a step.

        Args:
            point: the discrete point, table -> ``[edges, candidates]``.
            gradients: of the loss there; None where a loss scale overflowed.
        """
        values = {}
        for name, gradient in (gradients or {}).items():
            of_chosen = (gradient * point[name]).sum(dim=1, keepdim=True)
            others = 1 - point[name]
            base = (-of_chosen).expand_as(gradient)
            values[name] = torch.stack([(of_chosen - gradient) * others, others, base])
        if gradients and self.fits:
            self.together = self.together.add(point, gradients)
        self.add(values)

    def _end_stretch(self) -> None:
        super()._end_stretch()
        self.together_before, self.together = self.together, self._unmet()

    @property
    def fits(self) -> bool:
        """Whether the supernet has few enough candidates that pairs of them are looked at."""
        return self._candidates <= MOST

    def fit(self) -> Fit | None:
        """Return what paths gain to second order, of which `shown` is the first in the mean.

        None where the supernet has too many candidates, or no step was taken.
        """
        together = self.together_before + self.together
        return together.fit(self.shown()) if self.fits and together.steps else None

    def shown(self) -> Alphas:
        """Return the gains less the prices, in units of F."""
        return self._gains(self._sums(), self.counted)

    def _ranking(self, sums: Alphas, counted: int) -> Alphas:
        """Return the same in units of its largest entry, as a solver's tolerances need it."""
        gains = self._gains(sums, counted)
        largest = max((float(each.abs().max()) for each in gains.values()), default=0.0)
        return {name: each / (largest or 1.0) for name, each in gains.items()}

    def _gains(self, sums: Alphas, counted: int) -> Alphas:
        gains = {}
        for name, (instead, others, base) in sums.items():
            mean = instead / others.clamp_min(1) + base / max(counted, 1)
            gains[name] = mean - self.prices.get(name, 0.0)
        return gains

    def _unmet(self) -> Interactions:
        return Interactions.nothing(self._candidates if self.fits else 0)

    @property
    def _candidates(self) -> int:
        return sum(alphas.numel() for alphas in self.supernet.alphas.values())

    def state_dict(self) -> dict[str, Any]:
        """Return the sums of both stretches, those of pairs too."""
        both = self.together_before, self.together
        return {**super().state_dict(), "together": [dict(vars(each)) for each in both]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned.

        Raises:
            ValueError: it is of another average, such as that of an earlier version.
        """
        super().load_state_dict(state)
        if "together" not in state:
            raise ValueError("the average there is of an earlier version")
        self.together_before, self.together = (Interactions(**each) for each in state["together"])


class MeanPoint(Average):
    """The mean of the discrete points: how often each candidate was chosen."""

    shows: ClassVar[str] = "shares"
    figures: ClassVar[int] = 1

    def add_step(self, point: Alphas) -> None:
        """Count the discrete point that a step led to."""
        self.add({name: visits[None] for name, visits in point.items()})

    def shown(self) -> Alphas:
        """Return in what share of the steps each candidate was on.

        A row adds up to the share of steps in which its node kept the edge: 1 for an edge in no
        node group.
        """
        return {name: visits[0] / max(self.counted, 1) for name, visits in self._sums().items()}

    def _ranking(self, sums: Alphas, counted: int) -> Alphas:
        """Return log((n_k + ½) / (n_off + ½)).

        n_k are the steps in which candidate k was on, n_off those in which its edge was off. The
        path of the largest sum is the likeliest, if edges are drawn as often as they were visited.
        """
        scores = {}
        for name, (visits,) in sums.items():
            off = counted - visits.sum(dim=1, keepdim=True)
            scores[name] = (visits + 0.5).log() - (off + 0.5).log()
        return scores


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


def _centred(scores: torch.Tensor) -> torch.Tensor:
    """Return scores less their edge's mean, which all candidates share."""
    scores = scores.detach().double().cpu()
    return (scores - scores.mean(dim=1, keepdim=True)).flatten()
