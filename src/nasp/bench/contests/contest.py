"""What contests have in common: contestants by seeds, each search in a fresh process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nasp.bench.contests.contestant import Contestant
from nasp.bench.contests.search import SearchRequest, run_search
from nasp.bench.contests.settings import ContestSettings
from nasp.bench.results import Measurements, Results, Summarise
from nasp.bench.tables.accuracies import AccuracyTable
from nasp.errors import UsageError
from nasp.runs.pool import Work

SEED = ", seed "


@dataclass(frozen=True)
class Contest:
    """Who searches in what, and who tells what it is worth.

    For a seed all contestants have the same initial weights, halves of the data and batches.

    Attributes:
        settings: what they have alike.
        contestants: in the order in which they take turns.
        seeds: one search of each contestant each.
        table: every cell's accuracy.
    """

    settings: ContestSettings
    contestants: Sequence[Contestant]
    seeds: Sequence[int]
    table: AccuracyTable

    def results(
        self, bench: str, more: Mapping[str, Any], summarise: Summarise, path: Path | None
    ) -> Results:
        """Return the results so far; other contestants' and seeds' stay.

        Args:
            bench: the command.
            more: settings beside those of the contest.
            summarise: see `Results`.
            path: the file, which is taken up where it exists.

        Raises:
            UsageError: a setting does not fit; the file has other settings, or a contestant of
                the same label and other settings.
        """
        for contestant in self.contestants:  # all of them, before an hour is spent on the first
            self.settings.job(contestant, seed=0, epochs=1)
        shared = {**self.settings.shared(), "table": self.table.digest, **more}
        results = Results(path, bench, shared, summarise)
        by_label = {contestant.label: contestant for contestant in self.contestants}
        for value in results.measurements.values():
            there = Contestant.model_validate(value["contestant"])
            if by_label.get(there.label, there) != there:
                raise UsageError(
                    f"{path} holds a contestant '{there.label}' with other settings: give this one"
                    " another label."
                )
        return results

    def searches(self) -> dict[str, tuple[Contestant, int]]:
        """Return key -> whose search with which seed.

        Seeds are the outer loop, so that a machine which becomes busy hits all alike.
        """
        return {
            f"{contestant.label}{SEED}{seed}": (contestant, seed)
            for seed in self.seeds
            for contestant in self.contestants
        }

    def work(self, key: str, request: SearchRequest) -> Work:
        """Return what searches, in a fresh process, so that memory is right."""
        return Work(key, run_search, request, fresh=True, threads=self.settings.threads)


def by_contestant(found: Measurements) -> list[tuple[dict[str, Any], list[Any]]]:
    """Return what each row begins with (``name``, ``strategy``, …, ``seeds``), and its searches."""
    searches: dict[str, dict[int, Any]] = {}
    for key, value in found.items():
        label, separator, seed = key.rpartition(SEED)
        if separator:
            searches.setdefault(label, {})[int(seed)] = value
    rows = []
    for label, by_seed in searches.items():
        own = {k: v for k, v in next(iter(by_seed.values()))["contestant"].items() if k != "label"}
        seeds = sorted(by_seed)
        rows.append(({"name": label, **own, "seeds": seeds}, [by_seed[seed] for seed in seeds]))
    return rows
