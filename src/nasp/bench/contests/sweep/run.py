"""All searches of a sweep, what they cost and how well they do, one run folder each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean
from typing import Any

from nasp.bench.contests.plots import draw_front
from nasp.bench.contests.sweep.controls import Search, comparisons, searches_of
from nasp.bench.contests.sweep.errors import check_judged, described, works_of
from nasp.bench.contests.sweep.job import SweepJob
from nasp.bench.contests.sweep.pareto import Point, beaten, better_than, front
from nasp.bench.harness import announced, measure_missing
from nasp.bench.results import OWN, Measurements, Results
from nasp.bench.tables.accuracies import open_table
from nasp.complexity.control import check_possible
from nasp.complexity.quantity import find_quantity
from nasp.complexity.store import Store
from nasp.complexity.target import Gauge
from nasp.domains.domain import Data
from nasp.errors import validated
from nasp.jobs.search import SearchRequest, search_at
from nasp.runs.folder import RunFolder, json_object
from nasp.runs.origin import origin
from nasp.runs.pool import Pool, Work
from nasp.spaces import find_space
from nasp.strategies.random_search import draw
from nasp.training.events import Observer, nobody

REPORT, PICTURE = "sweep.json", "front.png"


def begin_sweep(path: str | Path, job: SweepJob) -> RunFolder:
    """Make the folder of a new sweep; see `RunFolder.create`."""
    return RunFolder.create(path, {"kind": "sweep", "job": job.model_dump(mode="json"), **origin()})


def sweep_of(folder: RunFolder) -> SweepJob | None:
    """Return the sweep that a folder was made for; None where it is another run's.

    Raises:
        UsageError: its settings do not fit this version.
    """
    content = folder.config()
    if content.get("kind") != "sweep":
        return None
    return validated(SweepJob, content.get("job", {}), str(folder.config_path))


def run_sweep(
    job: SweepJob, folder: RunFolder, observe: Observer = nobody, pool: Pool | None = None
) -> dict[str, Any]:
    """Search with each setting and seed, compare, and write ``sweep.json`` and ``front.png``.

    What is done already is not done again; a search that fails does not stop the others.

    Args:
        job: the sweep.
        folder: its folder; the runs are in ``runs/SETTING/seed-N``, those of controls in
            ``runs/SETTING/CONTROL-seed-N``.
        observe: is told which run begins, and what happens within it.
        pool: runs searches and trainings; default one after the other.

    Returns:
        The report that ``sweep.json`` holds beside the measurements.

    Raises:
        UsageError: a bound that nothing keeps, no such table, or too few data to judge by.
        NaspError: a run failed.
        Interrupted: Ctrl-C or SIGTERM; ``nasp resume`` goes on.
    """
    announce = announced(observe, pool)
    with folder.lock():
        if job.error == "table":
            open_table(job.table, job.search.data.name, job.search.space)
        data = job.search.domain.read(job.search.data, observe)
        gauge, space = _gauge(job, folder, data), find_space(job.search.space)
        batches = check_judged(job, data, gauge.target.supernet.network)
        table, notation = gauge.table(job.cost), space.notation
        for setting in job.settings:
            for amount in setting.at_most.values():
                check_possible(gauge, table, amount)
            for amount in setting.target.values():
                check_possible(gauge, table, amount, job.search.search.within)
        folder.is_under_way = True

        @cache
        def cost(of: str) -> float:
            architecture = space.parse(of)
            if gauge.quantity.adds_up:
                return table.of(gauge.target.supernet.path(architecture))
            return gauge.of(architecture).value

        drawn = draw(gauge.target.supernet, job.random, job.seeds[0]) if job.random else []
        random = [notation(architecture) for architecture in drawn]
        results = Results(
            folder.path / REPORT,
            "sweep",
            folder.config()["job"],  # as it was begun, wherever its data are now
            lambda found: _report(job, gauge.target.name, cost, random, found),
            go_on=folder.go_on,
        )
        searches = searches_of(job)

        def work_of(key: str) -> Work:
            search = searches[key]
            length = {} if search.control is None else _length(folder, search)
            request = SearchRequest(search.job(job, batches, length), folder.go_on)
            return Work(key, search_at, request, folder.path / search.run)

        def is_lost(key: str) -> bool:
            return searches[key]._replace(control=None).key in results.failed

        own = [key for key, search in searches.items() if search.control is None]
        controls = [key for key in searches if key not in own]
        for keys in (own, controls):  # as long as the search beside them, which may be timed
            measure_missing(keys, work_of, results, announce, pool, is_lost=is_lost)
        results.raise_failures()
        found = [results.measurements[key]["architecture"] for key in searches]
        errors = works_of(job, list(dict.fromkeys([*found, *random])), folder)
        measure_missing(
            list(errors), errors.__getitem__, results, announce, pool, lambda _, e: {"errors": e}
        )
        results.raise_failures()
        report = results.report()
        draw_front(report, folder.path / PICTURE)
        return report


def report_of(folder: RunFolder) -> dict[str, Any] | None:
    """Return the report of a sweep that is done; None before.

    Raises:
        NaspError: the file is damaged.
    """
    path = folder.path / REPORT
    if not (path.is_file() and (folder.path / PICTURE).is_file()):
        return None
    return {k: v for k, v in json_object(path).items() if k not in OWN}


def _length(folder: RunFolder, control: Search) -> dict[str, int]:
    """Return how long the search beside a control was, where that followed from minutes."""
    beside = RunFolder(folder.path / control._replace(control=None).run)
    length: dict[str, int] = beside.config().get("within_minutes", {})
    return length


def _gauge(job: SweepJob, folder: RunFolder, data: Data) -> Gauge:
    domain = job.search.domain
    size = domain.sized({**data.shape, **dict(job.size)})
    target = domain.target(find_space(job.search.space), size, "cpu")
    return Gauge(find_quantity(job.cost), target, Store(folder.costs_path))


def _report(
    job: SweepJob,
    network: str,
    cost: Callable[[str], float],
    random: Sequence[str],
    found: Measurements,
) -> dict[str, Any]:
    """Return the report, of those architectures whose errors are known."""
    errors: dict[str, float] = {}
    for value in found.values():
        errors |= value.get("errors", {})

    def point(setting: str, seed: int, notation: str) -> Point:
        return Point(setting, seed, cost(notation), errors[notation])

    searches = searches_of(job)
    known = {
        key: point(search.setting.name, search.seed, notation)
        for key, search in searches.items()
        if key in found and (notation := found[key]["architecture"]) in errors
    }
    points = {p: searches[key] for key, p in known.items() if searches[key].control is None}
    background = {point("", i, n): n for i, n in enumerate(random) if n in errors}
    best, others = front(list(points)), list(background)
    by_setting = {s.name: [p for p in points if p.setting == s.name] for s in job.settings}
    return {
        "cost": job.cost,
        "network": network,
        "error": described(job),
        "rows": [
            {
                "name": name,
                "cost": _over([each.cost for each in own]),
                "error": _over([each.error for each in own]),
                "on_front": sum(each in best for each in own),
                "better_than": _mean(better_than(each, others) for each in own),
                "is_start": all(_is_start(found[points[each].key]) for each in own),
            }
            for name, own in by_setting.items()
            if own
        ],
        "points": [
            {
                **each._asdict(),
                "architecture": found[search.key]["architecture"],
                "on_front": each in best,
                "better_than": better_than(each, others),
                "run": search.run,
            }
            for each, search in points.items()
        ],
        "controls": comparisons(job, known),
        "random": [
            {"cost": each.cost, "error": each.error, "architecture": notation}
            for each, notation in background.items()
        ],
        "random_beaten": beaten(others, best) if others else None,
    }


def _is_start(search: Mapping[str, Any]) -> bool:
    return bool(search["architecture"] == search["start"])


def _over(values: Sequence[float]) -> dict[str, float]:
    return {"mean": fmean(values), "min": min(values), "max": max(values)}


def _mean(shares: Iterable[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return fmean(known) if known else None
