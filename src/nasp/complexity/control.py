"""What a search does about complexity: its penalty, its bounds, the result within them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from torch import Tensor

from nasp.complexity.bound import Bound, Range, Reached, allowed
from nasp.complexity.config import ComplexityConfig
from nasp.complexity.costs import Cost
from nasp.complexity.measure import parameter_table
from nasp.complexity.quantity import find_quantity
from nasp.complexity.regulariser import Regulariser
from nasp.complexity.repair import cheapest, closest, leaning, nearest_within, ranked_within
from nasp.complexity.store import Store
from nasp.complexity.table import CostTable
from nasp.complexity.target import Gauge, Target
from nasp.errors import UsageError
from nasp.supernet.architecture import Architecture
from nasp.supernet.path import Path
from nasp.supernet.supernet import Alphas, Supernet

ATTEMPTS = 8
"""How often the limits of a cost that does not quite add up are moved."""
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
        asked = {**config.at_most, **config.target}
        target = bounded() if asked else None
        for name, limit in asked.items():
            assert target is not None
            within = config.within if name in config.target else None
            gauge = Gauge(find_quantity(name, own), target, store)
            table = gauge.table(f"bound: {name}")
            self.bounds.append(Bound(gauge, limit, table, steps_per_epoch, within))
        self._check_possible()

    def penalty(self, alphas: Mapping[str, Tensor]) -> Tensor:
        """Return η R(A) and the bounds' terms: the `Penalty` of the search."""
        terms = [bound(alphas) for bound in self.bounds]
        if self.regulariser is not None:
            terms.append(self.regulariser(alphas))
        nothing = next(iter(alphas.values())).new_zeros(())
        return sum(terms, start=nothing)

    def prices(self) -> Alphas:
        """Return what η R adds for each candidate that is chosen; nothing without R."""
        return {} if self.regulariser is None else self.regulariser.prices()

    def step(self, path: Path) -> None:
        """Move the multipliers by what the current path costs."""
        for bound in self.bounds:
            bound.step(path)

    @property
    def gives_size(self) -> bool:
        """Whether R(A) or a target says what a network is to cost, beside the loss."""
        return self.regulariser is not None or any(b.within is not None for b in self.bounds)

    def line(self, path: Path) -> dict[str, Any]:
        """Return for an epoch's metrics what the current path costs, by the tables."""
        if not self.bounds:
            return {}
        return {
            "costs": {b.gauge.quantity.name: b.table.of(path) for b in self.bounds},
            "multipliers": {b.gauge.quantity.name: b.multiplier for b in self.bounds},
        }

    def is_within(self, architecture: Architecture) -> bool:
        """Tell whether an architecture keeps all bounds, by the tables."""
        path = self.supernet.path(architecture)
        return all(b.range.least <= b.table.of(path) <= b.range.most for b in self.bounds)

    def is_feasible(self, architecture: Architecture) -> bool:
        """Tell whether the network of an architecture keeps all bounds, measured on it."""
        return all(each.is_met for each in self.reached(architecture))

    def ranked(
        self, scores: Mapping[str, Tensor], count: int, parameters: float = -math.inf
    ) -> list[Architecture]:
        """Return the architectures of the largest sums of scores within the bounds' tables.

        Args:
            scores: table -> ``[edges, candidates]``.
            count: how many, or as many as there are.
            parameters: that their candidates have at least, in the searched network.
        """
        tables = [parameter_table(self.supernet), *(bound.table for bound in self.bounds)]
        ranges = [Range(parameters, math.inf), *(bound.range for bound in self.bounds)]
        paths = islice(self._within(scores, tables, ranges), count)
        return [self.supernet.architecture(path) for path in paths]

    def settle(
        self, architecture: Architecture, scores: Mapping[str, Tensor] | None = None
    ) -> Architecture:
        """Return the architecture if it keeps the bounds, else the nearest one that does.

        Nearest by the scores, default the alphas: what has to be changed loses least of them. The
        costs of some networks, such as times, do not quite add up from their candidates'. There
        the table's limits are moved until the network itself keeps the bound; if it never does,
        what came nearest to it is returned.
        """
        tables = [bound.table for bound in self.bounds]
        ranges = [bound.range for bound in self.bounds]
        supernet, tried = self.supernet, [architecture]
        scores = supernet.alphas if scores is None else scores
        alphas = leaning(supernet, scores, supernet.path(architecture))
        for _ in range(ATTEMPTS):
            reached = self.reached(tried[-1])
            if all(each.is_met for each in reached):
                return tried[-1]
            paid = [table.of(supernet.path(tried[-1])) for table in tables]
            ranges = [_moved(*each) for each in zip(ranges, paid, reached, strict=True)]
            nearest = next(self._within(alphas, tables, ranges), None)
            if nearest is None:
                worst = max(range(len(reached)), key=lambda i: reached[i].miss)
                tried.append(cheapest_of(self.bounds[worst].gauge, tables[worst]))
                break
            tried.append(supernet.architecture(nearest))
        return min(tried, key=lambda each: sum(cost.miss for cost in self.reached(each)))

    def _within(
        self, scores: Mapping[str, Tensor], tables: list[CostTable], ranges: list[Range]
    ) -> Iterator[Path]:
        least, most = [each.least for each in ranges], [each.most for each in ranges]
        return ranked_within(self.supernet, scores, tables, most, least)

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
            check_possible(bound.gauge, bound.table, bound.limit, bound.within)
        exact = [b for b in self.bounds if b.gauge.quantity.adds_up and b.table.is_exact]
        if len(exact) < 2:
            return
        tables, ranges = [b.table for b in exact], [b.range for b in exact]
        if next(self._within(self.supernet.alphas, tables, ranges), None) is None:
            raise UsageError(
                "No architecture keeps all bounds"
                f" ({', '.join(bound.gauge.quantity.label for bound in exact)}) at once, though"
                " each can be kept alone: change one of them."
            )

    def state_dict(self) -> dict[str, Any]:
        """Return the multipliers."""
        return {"multipliers": [bound.multiplier for bound in self.bounds]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        for bound, multiplier in zip(self.bounds, state["multipliers"], strict=True):
            bound.multiplier = multiplier


def check_possible(
    gauge: Gauge, table: CostTable, limit: float, within: float | None = None
) -> None:
    """Raise where it is known that no architecture keeps a bound, or costs what it should.

    Args:
        gauge: the bounded cost.
        table: what the candidates cost.
        limit: the bound, or the target.
        within: by what share the target may be missed; None: it is no target.

    Raises:
        UsageError: even the cheapest network breaks the bound, or the nearest misses the target.
    """
    quantity, name = gauge.quantity, gauge.target.name
    if within is None:
        smallest = gauge.of(cheapest_of(gauge, table)).value
        if smallest > limit and table.is_exact:
            raise UsageError(
                f"No architecture keeps the bound of {quantity.written(limit)} {quantity.label}:"
                f" the smallest possible is {quantity.written(smallest)} ({name})."
            )
        return
    range_ = allowed(limit, within)
    nearest = _nearest_cost(gauge, table, limit, range_)
    # Where costs do not add up, what was tried is not all there is.
    is_sure = table.is_exact and (quantity.adds_up or not _spans(gauge, table, limit))
    if is_sure and not range_.least <= nearest <= range_.most:
        raise UsageError(
            f"No architecture costs {quantity.written(limit)} {quantity.label} within"
            f" {100 * within:.3g} %: the nearest possible is {quantity.written(nearest)} ({name})."
        )


def _spans(gauge: Gauge, table: CostTable, amount: float) -> bool:
    """Tell whether an amount lies between the costs of the cheapest and the dearest candidates."""
    supernet = gauge.target.supernet
    ends = [closest(supernet, table, end) for end in (0.0, sys.float_info.max)]
    least, most = (gauge.of(supernet.architecture(path)).value for path in ends)
    return least <= amount <= most


def _nearest_cost(gauge: Gauge, table: CostTable, target: float, range_: Range) -> float:
    """Return the cost of the network that comes nearest to a target, measured on it."""
    supernet, wrong, found = gauge.target.supernet, 0.0, list[float]()
    for _ in range(ATTEMPTS):
        least, most = [range_.least + wrong], [range_.most + wrong]
        path = nearest_within(supernet, supernet.alphas, [table], most, least)
        path = path or closest(supernet, table, target + wrong)
        found.append(gauge.of(supernet.architecture(path)).value)
        if range_.least <= found[-1] <= range_.most or found[-1] in found[:-1]:
            break
        wrong = table.of(path) - found[-1]  # Where costs do not quite add up.
    return min(found, key=lambda cost: abs(cost - target))


def cheapest_of(gauge: Gauge, table: CostTable) -> Architecture:
    """Return the architecture whose candidates cost least."""
    supernet = gauge.target.supernet
    return supernet.architecture(cheapest(supernet, table))


def _moved(range_: Range, paid: float, reached: Reached) -> Range:
    """Return what a network may cost by the table, after what one was measured to cost."""
    if reached.is_met:
        return range_
    if reached.target is not None:
        # The table is as wrong of the next network as of this one.
        wrong = paid - reached.reached
        return Range(reached.range.least + wrong, reached.range.most + wrong)
    if paid > range_.most:
        return range_
    return Range(0.0, MARGIN * paid * reached.at_most / reached.reached)
