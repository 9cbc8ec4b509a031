"""The cells of a table that keep a contestant's bounds: those that its result stands among."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict

from nasp.bench.tables.accuracies import AccuracyTable
from nasp.complexity.bound import allowed
from nasp.complexity.quantity import find_quantity
from nasp.complexity.store import Store
from nasp.complexity.table import CostTable
from nasp.complexity.target import Gauge
from nasp.domains.domain import Data
from nasp.jobs.search_job import SearchJob, bounded_in
from nasp.spaces import find_space
from nasp.spaces.sampling import small_supernet
from nasp.supernet.supernet import Supernet


class Kept(BaseModel):
    """A bound or a target, and what cells cost by it.

    Attributes:
        cost: the quantity's name.
        least: that a cell may cost.
        most: that a cell may cost.
        table: what candidates cost, see `CostTable.as_dict`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cost: str
    least: float
    most: float
    table: dict[str, Any]


def kept_by(data: Data, job: SearchJob) -> list[Kept]:
    """Return the bounds of a search; none where what cells cost is not the sum of their candidates.

    Args:
        data: whose networks are counted.
        job: the search; its bounds are about networks of a size of their own.
    """
    config = job.search
    bounded = bounded_in(data, job)
    if bounded is None:
        return []
    target, found = bounded(torch.device("cpu")), []
    for name, limit in {**config.at_most, **config.target}.items():
        gauge = Gauge(find_quantity(name), target, Store(None))
        if not gauge.quantity.adds_up:
            return []
        least, most = allowed(limit, config.within if name in config.target else None)
        table = gauge.table(name).as_dict()
        found.append(Kept(cost=name, least=least, most=most, table=table))
    return found


class Peers:
    """Where results stand among the cells that keep the same bounds.

    Args:
        table: of all cells.
    """

    def __init__(self, table: AccuracyTable) -> None:
        self.table = table
        self._supernet: Supernet | None = None
        self._known: dict[str, AccuracyTable | None] = {}

    def standing(self, bounds: Sequence[Mapping[str, Any]], accuracies: Sequence[float]) -> Any:
        """Return ``cells``, how many there are, and ``percentile``: of these worse, per cent.

        Of equal ones half count. ``percentile`` is the mean over ``percentiles``, one for each
        accuracy. None without bounds.

        Args:
            bounds: of a contestant, each a `Kept` as plain values.
            accuracies: of its results.
        """
        if not bounds:
            return None
        peers = self._among([Kept(**bound) for bound in bounds])
        if peers is None:
            return {"cells": 0, "percentile": None, "percentiles": []}
        each = [peers.percentile(accuracy) for accuracy in accuracies]
        mean = statistics.fmean(each)
        return {"cells": len(peers.accuracies), "percentile": mean, "percentiles": each}

    def _among(self, bounds: Sequence[Kept]) -> AccuracyTable | None:
        """Return the table of the cells that keep the bounds; None: there are none."""
        key = "".join(bound.model_dump_json() for bound in bounds)
        if key not in self._known:
            space = find_space(self.table.space)
            supernet = self._supernet = self._supernet or small_supernet(space)
            tables = [(bound, CostTable.from_dict(supernet, bound.table)) for bound in bounds]
            found = {
                cell: accuracy
                for cell, accuracy in self.table.accuracies.items()
                for path in [supernet.path(space.parse(cell))]
                if all(kept.least <= costs.of(path) <= kept.most for kept, costs in tables)
            }
            self._known[key] = replace(self.table, accuracies=found) if found else None
        return self._known[key]
