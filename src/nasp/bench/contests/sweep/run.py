"""All searches of a sweep, what they cost and how well they do, one run folder each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from statistics import fmean
from typing import Any

from nasp.bench.contests.pareto import Point, beaten, better_than, front
from nasp.bench.contests.plots import Front, draw_front
from nasp.bench.contests.sweep.job import Setting, SweepJob
from nasp.bench.contests.sweep.judge import check_table, described, errors_of
from nasp.complexity.control import check_possible
from nasp.complexity.quantity import find_quantity
from nasp.complexity.store import Store
from nasp.complexity.table import CostTable
from nasp.complexity.target import Gauge
from nasp.errors import validated
from nasp.jobs.job import inner_run
from nasp.jobs.search import SearchJob, run_search_job
from nasp.runs.files import write_text_atomic
from nasp.runs.folder import RunFolder, json_object
from nasp.spaces import find_space
from nasp.strategies.random_search import draw as draw_random
from nasp.supernet.architecture import Architecture
from nasp.training.events import Observer, nobody

REPORT, PICTURE = "sweep.json", "front.png"
Say = Callable[[str], None]


def begin_sweep(path: Any, job: SweepJob) -> RunFolder:
    """Make the folder of a new sweep; see `RunFolder.create`."""
    return RunFolder.create(path, {"kind": "sweep", "job": job.model_dump(mode="json")})


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
    job: SweepJob, folder: RunFolder, observe: Observer = nobody, say: Say = lambda _: None
) -> dict[str, Any]:
    """Search with each setting and seed, compare, and write ``sweep.json`` and ``front.png``.

    What is done already is not done again.

    Args:
        job: the sweep.
        folder: its folder; the runs are in ``runs/SETTING/seed-N``.
        observe: is told what happens within a run.
        say: is told which run begins.

    Returns:
        What ``sweep.json`` holds.

    Raises:
        UsageError: a bound that nothing keeps, or no such table.
        NaspError: a run failed.
    """
    with folder.lock():
        check_table(job)
        gauge, table = _costs(job, folder, observe)
        for setting in job.settings:
            for amount in setting.at_most.values():
                check_possible(gauge, table, amount)
        folder.is_under_way = True
        found = _found(job, folder, observe, say)
        random = draw_random(gauge.target.supernet, job.random, job.seeds[0]) if job.random else []
        everyone = list(dict.fromkeys([*found.values(), *random]))
        say(f"Judging {len(everyone)} architectures: {described(job)}")
        errors = dict(zip(everyone, errors_of(job, everyone, folder, observe), strict=True))

        def point(setting: str, seed: int, architecture: Architecture) -> Point:
            cost = _cost(gauge, table, architecture)
            return Point(setting, seed, cost, errors[architecture])

        points = {point(setting, seed, a): a for (setting, seed), a in found.items()}
        background = {point("", number, a): a for number, a in enumerate(random)}
        report = _report(job, gauge, points, background)
        text = json.dumps(report, indent=2) + "\n"
        write_text_atomic(folder.path / REPORT, text)
        _draw(job, gauge, points, background, folder)
        return report


def report_of(folder: RunFolder) -> dict[str, Any] | None:
    """Return what a sweep that is done wrote into ``sweep.json``; None before.

    Raises:
        NaspError: the file is damaged.
    """
    path = folder.path / REPORT
    return json_object(path) if path.is_file() else None


def _costs(job: SweepJob, folder: RunFolder, observe: Observer) -> tuple[Gauge, CostTable]:
    domain = job.search.domain
    size = domain.sized({**domain.read(job.search.data, observe).shape, **dict(job.size)})
    target = domain.target(find_space(job.search.space), size, "cpu")
    gauge = Gauge(find_quantity(job.cost), target, Store(folder.costs_path))
    return gauge, gauge.table(job.cost)


def _cost(gauge: Gauge, table: CostTable, architecture: Architecture) -> float:
    return table.of(architecture) if gauge.quantity.adds_up else gauge.of(architecture).value


def _found(
    job: SweepJob, folder: RunFolder, observe: Observer, say: Say
) -> dict[tuple[str, int], Architecture]:
    """Search with each setting, seed after seed, so that a sweep that is stopped has each once."""
    plan = [(setting, seed) for seed in job.seeds for setting in job.settings]
    found = {}
    for number, (setting, seed) in enumerate(plan, 1):
        search = search_of(job, setting, seed)
        run = inner_run(folder, f"runs/{setting.name}/seed-{seed}", search)
        if run.architecture_path.is_file():
            architecture = Architecture.load(run.architecture_path)
        else:
            say(f"[{number}/{len(plan)}] {setting.name}, seed {seed}")
            architecture = run_search_job(search, run, observe).architecture
        found[setting.name, seed] = architecture
    return found


def search_of(job: SweepJob, setting: Setting, seed: int) -> SearchJob:
    """Return one search of a sweep."""
    own = {"complexity": setting.complexity, "at_most": setting.at_most, "seed": seed}
    config = job.search.search.model_copy(update=own)
    size = job.size if setting.at_most else None
    return job.search.model_copy(update={"search": config, "bound_at": size})


def _report(
    job: SweepJob,
    gauge: Gauge,
    points: Mapping[Point, Architecture],
    background: Mapping[Point, Architecture],
) -> dict[str, Any]:
    notation = find_space(job.search.space).notation
    best, random = front(list(points)), list(background)
    own = {s.name: [p for p in points if p.setting == s.name] for s in job.settings}
    return {
        "cost": job.cost,
        "network": gauge.target.name,
        "error": described(job),
        "settings": [
            {
                "name": name,
                "cost": _over(point.cost for point in each),
                "error": _over(point.error for point in each),
                "on_front": sum(point in best for point in each),
                "better_than": _mean([better_than(point, random) for point in each]),
            }
            for name, each in own.items()
        ],
        "points": [
            {
                **point._asdict(),
                "architecture": notation(architecture),
                "on_front": point in best,
                "better_than": better_than(point, random),
                "run": f"runs/{point.setting}/seed-{point.seed}",
            }
            for point, architecture in points.items()
        ],
        "random": [
            {"cost": point.cost, "error": point.error, "architecture": notation(architecture)}
            for point, architecture in background.items()
        ],
        "random_beaten": beaten(random, best) if random else None,
        "sweep": job.model_dump(mode="json"),
    }


def _over(values: Iterable[float]) -> dict[str, float]:
    each = list(values)
    return {"mean": fmean(each), "min": min(each), "max": max(each)}


def _mean(shares: Iterable[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return fmean(known) if known else None


def _draw(
    job: SweepJob,
    gauge: Gauge,
    points: Iterable[Point],
    background: Iterable[Point],
    folder: RunFolder,
) -> None:
    quantity = gauge.quantity
    found, random = list(points), list(background)
    largest = max(point.cost for point in [*found, *random])
    picture = Front(
        found,
        random,
        f"{quantity.label} of the network ({gauge.target.name})",
        f"{described(job)}, %",
        quantity.unit(largest),
    )
    data = job.search.data.name.rpartition("/")[2]
    title = f"{job.search.space} on {data}, {job.search.search.strategy}"
    draw_front(picture, folder.path / PICTURE, title)
