"""What a search found, and larger networks beside it, where it does not know what size is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from nasp.complexity import parameter_counts, parameter_table
from nasp.complexity.control import Complexity
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Alphas, Supernet

MOST = 4
"""Networks that are proposed: fewer train longer, and one that leads by chance is rarer."""


@dataclass(frozen=True)
class Larger:
    """Proposes what was found, the largest network, and the best by the scores at sizes between.

    While a supernet is far from trained it underrates large networks, but among networks of one
    size it can rank: see docs/results.

    Attributes:
        complexity: has the bounds that they keep.
        scores: by which networks of a size are ranked; table -> ``[edges, candidates]``.
        found: by the search.
    """

    complexity: Complexity
    scores: Mapping[str, Tensor]
    found: Architecture

    @property
    def is_any(self) -> bool:
        """Whether there is a larger network than the found one."""
        return len(self.propose(2)) > 1

    def propose(self, count: int) -> list[Architecture]:
        """Return at most `count`, distinct: the found one, the largest, then those between."""
        count = min(count, MOST)
        supernet = self.complexity.supernet
        table = parameter_table(supernet)
        largest = self.largest()
        least, most = (table.of(supernet.path(each)) for each in (self.found, largest))
        between = count - 1
        sizes = [least + (most - least) * step / between for step in range(1, between)]
        ends = [self.found, largest] if most > least else [self.found]
        best = (self.complexity.ranked(self.scores, 1, size) for size in sizes if most > least)
        middle = (architecture for ranked in best for architecture in ranked)
        return list(dict.fromkeys([*ends, *middle]))[:count]

    def largest(self) -> Architecture:
        """Return the largest network that keeps the bounds; among equals, that of best scores."""
        by = by_size(self.complexity.supernet, self.scores)
        first = next(iter(self.complexity.ranked(by, 1)), self.found)
        return self.complexity.settle(first, by)


def by_size(supernet: Supernet, scores: Mapping[str, Tensor]) -> Alphas:
    """Return scores of which the largest path has the largest sum.

    Args:
        supernet: whose candidates are counted.
        scores: what ranks paths of one size; table -> ``[edges, candidates]``.
    """
    counts = parameter_counts(supernet)
    return {name: counts[name].double() + 1e-6 * s.detach() for name, s in scores.items()}
