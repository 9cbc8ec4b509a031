"""What a search does about complexity: its penalty, its bounds, the result within them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any

from torch import Tensor

from nasp.complexity.bound import Bound, Reached
from nasp.complexity.config import ComplexityConfig
from nasp.complexity.costs import Cost
from nasp.complexity.measure import parameter_table
from nasp.complexity.quantity import find_quantity
from nasp.complexity.regulariser import Regulariser
from nasp.complexity.repair import cheapest, leaning, nearest_within, ranked_within
from nasp.complexity.store import Store
from nasp.complexity.table import CostTable
from nasp.complexity.target import Gauge, Target
from nasp.errors import UsageError
from nasp.supernet.architecture import Architecture
from nasp.supernet.path import Path
from nasp.supernet.supernet import Supernet

ATTEMPTS = 8
"""How often the limit of a cost that does not quite add up is tightened."""
MARGIN = 0.99
RESULT = "result"
"""Where the store has what the search's result costs."""


class Complexity:
    """The complexity of one search; its state is the bounds' multipliers.

    Args:
        supernet: the one that is searched.
        config: settings.
        searched: makes the target that R(A) is about, the searched network itself.
        bounded: makes the target that bounds are about.
        steps_per_epoch: of the search.
        store: keeps what was measured.
        own: the user's own cost.

    Raises:
        UsageError: no architecture keeps the bounds.
    """

    def __init__(
        self,
        supernet: Supernet,
        config: ComplexityConfig,
        searched: Callable[[], Target],
        bounded: Callable[[], Target],
        steps_per_epoch: int,
        store: Store,
        own: Cost | None = None,
    ) -> None:
        self.supernet = supernet
        self.store = store
        self.regulariser: Regulariser | None = None
        if config.complexity > 0:
            gauge = Gauge(find_quantity(config.cost, own), searched(), store)
            costs = gauge.table(f"candidates: {config.cost}", rest=False).candidates()
            fitting = {name: costs[name].to(a.dtype) for name, a in supernet.alphas.items()}
            self.regulariser = Regulariser(fitting, config.complexity, config.normalise)
        self.bounds: list[Bound] = []
        target = bounded() if config.at_most else None
        for name, limit in config.at_most.items():
            assert target is not None
            gauge = Gauge(find_quantity(name, own), target, store)
            table = gauge.table(f"bound: {name}")
            self.bounds.append(Bound(gauge, limit, table, steps_per_epoch))
        self._check_possible()

    def penalty(self, alphas: Mapping[str, Tensor]) -> Tensor:
        """Return η R(A) and the bounds' terms: the `Penalty` of the search."""
        terms = [bound(alphas) for bound in self.bounds]
        if self.regulariser is not None:
            terms.append(self.regulariser(alphas))
        nothing = next(iter(alphas.values())).new_zeros(())
        return sum(terms, start=nothing)

    def step(self, path: Path) -> None:
        """Move the multipliers by what the current path costs."""
        for bound in self.bounds:
            bound.step(path)

    def line(self, path: Path) -> dict[str, Any]:
        """Return for an epoch's metrics what the current path costs, by the tables."""
        if not self.bounds:
            return {}
        return {
            "costs": {b.gauge.quantity.name: b.table.of(path) for b in self.bounds},
            "multipliers": {b.gauge.quantity.name: b.multiplier for b in self.bounds},
        }

    def is_feasible(self, architecture: Architecture) -> bool:
        """Tell whether the network of an architecture keeps all bounds, measured on it."""
        return all(each.is_met for each in self.reached(architecture))

    def ranked(self, scores: Mapping[str, Tensor], count: int) -> list[Architecture]:
        """Return the architectures of the largest sums of scores within the bounds' tables.

        Args:
            scores: table -> ``[edges, candidates]``.
            count: how many, or as many as there are.
        """
        tables = [bound.table for bound in self.bounds]
        limits = [bound.limit for bound in self.bounds]
        if not tables:
            tables, limits = [parameter_table(self.supernet)], [math.inf]
        paths = islice(ranked_within(self.supernet, scores, tables, limits), count)
        return [self.supernet.architecture(path) for path in paths]

    def settle(
        self, architecture: Architecture, scores: Mapping[str, Tensor] | None = None
    ) -> Architecture:
        """Return the architecture if it keeps the bounds, else the nearest one that does.

        Nearest by the scores, default the alphas: what has to be changed loses least of them. The
        costs of some networks, such as times, do not quite add up from their candidates'. There
        the table's limit is tightened until the network itself keeps the bound; if it never
        does, what was tried last is returned.
        """
        tables = [bound.table for bound in self.bounds]
        limits = [bound.limit for bound in self.bounds]
        supernet = self.supernet
        scores = supernet.alphas if scores is None else scores
        alphas = leaning(supernet, scores, supernet.path(architecture))
        for _ in range(ATTEMPTS):
            reached = self.reached(architecture)
            if all(each.is_met for each in reached):
                break
            paid = [table.of(supernet.path(architecture)) for table in tables]
            limits = [_tighter(*each) for each in zip(limits, paid, reached, strict=True)]
            nearest = nearest_within(supernet, alphas, tables, limits)
            if nearest is None:
                worst = max(range(len(reached)), key=lambda i: reached[i].reached / limits[i])
                return cheapest_of(self.bounds[worst].gauge, tables[worst])
            architecture = supernet.architecture(nearest)
        return architecture

    def reached(self, architecture: Architecture) -> tuple[Reached, ...]:
        """Return for each bound what the network of an architecture costs, measured on it."""
        return tuple(bound.reached(architecture) for bound in self.bounds)

    def conclude(self, last: Architecture, result: Architecture) -> list[str]:
        """Keep what the result costs in the store; return what the user should be told.

        Args:
            last: the architecture of the last iteration.
            result: that of the search.
        """
        if not self.bounds:
            return []
        reached = self.reached(result)
        self.store.put(RESULT, [each.as_dict() for each in reached])
        remarks = []
        if not self.is_feasible(last):
            remarks.append(
                "The architecture of the last iteration did not keep the bounds:"
                f" {result.changes(last)} of its {len(last.edges)} edges were changed."
            )
        broken = [each.sentence() for each in reached if not each.is_met]
        return [*remarks, *(f"A bound could not be kept: {sentence}." for sentence in broken)]

    def _check_possible(self) -> None:
        for bound in self.bounds:
            check_possible(bound.gauge, bound.table, bound.limit)
        exact = [b for b in self.bounds if b.gauge.quantity.adds_up and b.table.is_exact]
        tables, limits = [b.table for b in exact], [b.limit for b in exact]
        if len(exact) < 2:
            return
        if nearest_within(self.supernet, self.supernet.alphas, tables, limits) is None:
            raise UsageError(
                "No architecture keeps all bounds"
                f" ({', '.join(bound.gauge.quantity.label for bound in exact)}) at once, though"
                " each can be kept alone: raise one of them."
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the multipliers."""
        return {"multipliers": [bound.multiplier for bound in self.bounds]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        for bound, multiplier in zip(self.bounds, state["multipliers"], strict=True):
            bound.multiplier = multiplier


def check_possible(gauge: Gauge, table: CostTable, limit: float) -> None:
    """Raise where it is known that no architecture keeps a bound.

    Args:
        gauge: the bounded cost.
        table: what the candidates cost.
        limit: the bound.

    Raises:
        UsageError: even the cheapest network breaks it.
    """
    quantity, smallest = gauge.quantity, gauge.of(cheapest_of(gauge, table)).value
    if smallest > limit and table.is_exact:
        raise UsageError(
            f"No architecture keeps the bound of {quantity.written(limit)} {quantity.label}: the"
            f" smallest possible is {quantity.written(smallest)} ({gauge.target.name})."
        )


def cheapest_of(gauge: Gauge, table: CostTable) -> Architecture:
    """Return the architecture whose candidates cost least."""
    supernet = gauge.target.supernet
    return supernet.architecture(cheapest(supernet, table))


def _tighter(limit: float, paid: float, reached: Reached) -> float:
    """Return a smaller limit where by the table it was kept, and by the network it was not."""
    if reached.is_met or paid > limit:
        return limit
    return MARGIN * paid * reached.at_most / reached.reached
