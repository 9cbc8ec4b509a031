"""What an averaged search ranks first, within the bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from nasp.complexity.control import Complexity
from nasp.strategies.interactions import Fit
from nasp.supernet.architecture import Architecture

LOOKED_AT = 32
"""Architectures of the largest sums of scores, among which those that gain most are found."""


@dataclass(frozen=True)
class ByScores:
    """Proposes the architectures of the largest sums of scores, the averaged result first.

    Attributes:
        complexity: has the bounds that they keep.
        scores: of `nasp.strategies.average.Average`, or of the fit.
        fit: by what it says they gain, the foremost of these sums are ranked; None: by the sums.
    """

    complexity: Complexity
    scores: Mapping[str, Tensor]
    fit: Fit | None = None

    def propose(self, count: int) -> list[Architecture]:
        """Return `count` distinct architectures, or as many as there are, the foremost first."""
        if self.fit is None:
            return self.complexity.ranked(self.scores, count)
        ranked = self.complexity.ranked(self.scores, max(count, LOOKED_AT))
        return sorted(ranked, key=self._gain, reverse=True)[:count]

    def _gain(self, architecture: Architecture) -> float:
        assert self.fit is not None
        supernet = self.complexity.supernet
        return self.fit.gain(supernet.one_hot(supernet.path(architecture)))
