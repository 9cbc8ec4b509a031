"""Random architectures of a given cost are uniform among those that cost it."""

from __future__ import annotations

import copy
import random
from collections import Counter

from torch import nn

from nasp.bilevel.selection import Admitted
from nasp.complexity.config import ComplexityConfig
from nasp.complexity.control import Complexity
from nasp.complexity.store import Store
from nasp.complexity.target import Target
from nasp.strategies.random_search import draw
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet


class Drawing:
    """Proposes as strategy random does: all, in an order that is uniform."""

    def __init__(self, every: list[Architecture], seed: int) -> None:
        self.order = random.Random(seed).sample(every, len(every))

    def propose(self, count: int) -> list[Architecture]:
        return self.order[:count]


def test_random_architectures_of_a_cost_are_uniform_among_them() -> None:
    two, one, none = nn.Linear(1, 1), nn.Linear(1, 1, bias=False), nn.Identity()
    choices = [Choice(copy.deepcopy({"a": two, "b": one, "c": none})) for _ in range(4)]
    supernet = Supernet(nn.Sequential(*choices))

    def target() -> Target:
        return Target("it", supernet, lambda: None, lambda a: derive(supernet, a))

    config = ComplexityConfig(target={"parameters": 4}, within=0.01)
    complexity = Complexity(supernet, config, target, target, 5, Store(None))
    every = draw(supernet, 81, 0)
    inside = [a for a in every if complexity.is_within(a)]
    assert len(inside) == 19  # of 81: ways to write 4 as a sum of four of 0, 1, 2
    firsts = Counter(
        Admitted(Drawing(every, seed), complexity).propose(1)[0] for seed in range(760)
    )
    assert set(firsts) == set(inside)
    assert sum((n - 40) ** 2 / 40 for n in firsts.values()) < 42.3  # p = 0.001 at 18 degrees
    proposed = Admitted(Drawing(every, 0), complexity).propose(25)
    assert len(set(proposed)) == 25
    assert [complexity.is_within(each) for each in proposed] == [True] * 19 + [False] * 6
    networks = [derive(supernet, each) for each in proposed[:19]]
    assert all(sum(p.numel() for p in network.parameters()) == 4 for network in networks)
