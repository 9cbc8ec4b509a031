"""What an averaged search ranks first: the architectures of the largest sums of scores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from nasp.complexity.control import Complexity
from nasp.supernet.architecture import Architecture


@dataclass(frozen=True)
class ByScores:
    """Proposes the architectures of the largest sums of scores, the averaged result first.

    Attributes:
        complexity: has the bounds that they keep.
        scores: of `nasp.strategies.average.Average`.
    """

    complexity: Complexity
    scores: Mapping[str, Tensor]

    def propose(self, count: int) -> list[Architecture]:
        """Return `count` distinct architectures, or as many as there are, the foremost first."""
        return self.complexity.ranked(self.scores, count)
