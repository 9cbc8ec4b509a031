"""Where an averaged search was most often: the likeliest architectures, each edge by itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from nasp.complexity.control import Complexity
from nasp.supernet.architecture import Architecture


@dataclass(frozen=True)
class Likeliest:
    """Proposes the architectures of the largest sums of scores, the averaged point first.

    Attributes:
        complexity: has the bounds that they keep.
        scores: of `nasp.strategies.average.Average`.
    """

    complexity: Complexity
    scores: Mapping[str, Tensor]

    def propose(self, count: int) -> list[Architecture]:
        """Return `count` distinct architectures, or as many as there are, the likeliest first."""
        return self.complexity.ranked(self.scores, count)
