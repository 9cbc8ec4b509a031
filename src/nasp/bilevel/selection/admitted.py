"""Of what a strategy proposes, that which keeps the bounds, as it was proposed."""

from __future__ import annotations

from dataclasses import dataclass

from nasp.complexity.control import Complexity
from nasp.strategies import Proposes
from nasp.supernet.architecture import Architecture

LOOKED_AT = 50
"""How many times more are looked at where there are bounds, and never fewer than this squared."""


@dataclass(frozen=True)
class Admitted:
    """Leaves out what costs too much or, of a target, too little.

    So random architectures are uniform among those of that cost, as those would not be that were
    changed until they keep a bound.

    Attributes:
        proposed: says which architectures are candidates.
        complexity: has the bounds.
    """

    proposed: Proposes
    complexity: Complexity

    def propose(self, count: int) -> list[Architecture]:
        """Return `count` of them; where too few keep the bounds, the foremost others come last."""
        if not self.complexity.bounds:
            return self.proposed.propose(count)
        drawn = self.proposed.propose(max(LOOKED_AT * count, LOOKED_AT**2))
        return sorted(drawn, key=lambda each: not self.complexity.is_within(each))[:count]
