"""What a sweep at given costs is compared with: the largest networks, and random ones."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from statistics import fmean
from typing import Any, NamedTuple

from nasp.bench.contests.sweep.job import Setting, SweepJob
from nasp.bench.contests.sweep.pareto import Point, area
from nasp.bench.seeds import compare
from nasp.bilevel.settings import SearchConfig
from nasp.jobs.search_job import SearchJob
from nasp.strategies import Horizon, find_strategy, strategy_config

ARCH_STEP = 2
"""Weight steps of a path that an architecture step costs: NASP's, as measured."""


class Search(NamedTuple):
    """One search of a sweep.

    Attributes:
        setting: its weight, bound or target.
        seed: of it.
        control: the strategy that stands in for the sweep's own; None: that itself.
    """

    setting: Setting
    seed: int
    control: str | None = None

    @property
    def key(self) -> str:
        """What it is called among the measurements."""
        control = "" if self.control is None else f", {self.control}"
        return f"{self.setting.name}{control}, seed {self.seed}"

    @property
    def run(self) -> str:
        """Its run folder, within the sweep's."""
        control = "" if self.control is None else f"{self.control}-"
        return f"runs/{self.setting.name}/{control}seed-{self.seed}"

    def job(
        self, sweep: SweepJob, batches: int, length: Mapping[str, int] | None = None
    ) -> SearchJob:
        """Return what is searched.

        The largest architecture stands for itself. Among random ones short trainings decide, for as
        many steps as the search takes, of which one for its alphas counts as `ARCH_STEP`, and for
        those of the search's own selection.

        Args:
            sweep: the sweep.
            batches: of a pass over the half that weights are trained on.
            length: ``epochs`` and ``epoch_steps`` of the search that this stands beside, where they
                follow from the minutes that it was given.
        """
        common = sweep.search.search
        own: dict[str, Any] = {**dict(self.setting), "seed": self.seed}
        if self.control is not None:
            own |= {"strategy": self.control, "settings": {}, "select": "none", "minutes": None}
        if self.control == "random":
            common = common.model_copy(update=dict(length or {}))
            epochs = _training_epochs(common, batches)
            at_least = 2 * common.selection.first_rung
            selection = common.selection.model_copy(update={"epochs": max(epochs, at_least)})
            own |= {"select": "train", "selection": selection}
        config = common.model_copy(update=own)
        size = sweep.size if self.setting.at_most or self.setting.target else None
        return sweep.search.model_copy(update={"search": config, "bound_at": size})


def _training_epochs(config: SearchConfig, batches: int) -> int:
    """Return for how many epochs, as long as the search's, paths are trained at its cost."""
    registration = find_strategy(config.strategy)
    trained = config.selection.epochs if config.select == "train" else 0
    if not registration.iterative:
        return trained
    steps = config.steps_of_epoch(config.epoch_steps or batches)
    settings = strategy_config(config.strategy, config.settings)
    every = registration.weight_steps(settings, Horizon(config.epochs, steps))
    return math.ceil(config.epochs * (1 + ARCH_STEP / every)) + trained


def searches_of(sweep: SweepJob) -> dict[str, Search]:
    """Return all by key; seed after seed, so that a stopped sweep has each setting once."""
    return {
        search.key: search
        for seed in sweep.seeds
        for setting in sweep.settings
        for control in (None, *sweep.controls)
        for search in (Search(setting, seed, control),)
    }


def comparisons(sweep: SweepJob, points: Mapping[str, Point]) -> list[dict[str, Any]]:
    """Return how the sweep's own searches do beside each control.

    Args:
        sweep: the sweep.
        points: of the searches whose errors are known, by key.

    Returns:
        For each control ``name``, ``rows`` (``setting`` and the mean ``error``), the paired
        comparison over settings and seeds (`nasp.bench.seeds.Comparison`; above 0 the search's
        error is the lower), ``pairs``, ``seeds`` of whole fronts, and ``smaller_area``: in how many
        of these the area under the search's front is smaller.
    """
    found = []
    costs = [point.cost for point in points.values()]
    for name in sweep.controls:
        keys = {
            (setting.name, seed): (Search(setting, seed).key, Search(setting, seed, name).key)
            for seed in sweep.seeds
            for setting in sweep.settings
        }
        pairs = {
            which: (points[own], points[control])
            for which, (own, control) in keys.items()
            if own in points and control in points
        }
        if not pairs:
            continue
        own_errors = [own.error for own, _ in pairs.values()]
        errors = [control.error for _, control in pairs.values()]
        whole = [s for s in sweep.seeds if all((each.name, s) in pairs for each in sweep.settings)]
        areas = [
            [
                area([pairs[each.name, s][side] for each in sweep.settings], min(costs), max(costs))
                for side in (0, 1)
            ]
            for s in whole
        ]
        compared = dataclasses.asdict(compare(errors, own_errors))
        found.append(
            {
                "name": name,
                "rows": _errors(sweep, pairs),
                "pairs": compared.pop("seeds"),
                **compared,
                "seeds": len(whole),
                "smaller_area": sum(first < second for first, second in areas),
            }
        )
    return found


def _errors(
    sweep: SweepJob, pairs: Mapping[tuple[str, int], tuple[Point, Point]]
) -> list[dict[str, Any]]:
    rows = []
    for setting in sweep.settings:
        errors = [
            control.error for (name, _), (_, control) in pairs.items() if name == setting.name
        ]
        if errors:
            rows.append({"setting": setting.name, "error": fmean(errors)})
    return rows
