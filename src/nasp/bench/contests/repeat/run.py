"""A repeat from its first search to the architecture that is kept."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from nasp.bench.contests.repeat.field import (
    Field,
    agreement,
    budgeted,
    distinct,
    field_of,
    hand_out,
    take_in,
)
from nasp.bench.contests.repeat.spread import SELECTION, folder_of, key_of, report_of
from nasp.bench.harness import announced, measure_missing
from nasp.bench.results import OWN, Results
from nasp.bilevel.history import keep_choices
from nasp.bilevel.select_among import select_among
from nasp.bilevel.selection import Contender
from nasp.bilevel.settings import SearchConfig
from nasp.complexity import parameter_count
from nasp.domains.domain import Data
from nasp.jobs.job import inner_run, keep_data, written
from nasp.jobs.rebuild import run_size
from nasp.jobs.repeat import RepeatJob
from nasp.jobs.search import SearchRequest, search_at
from nasp.jobs.selection import trained_beside
from nasp.runs.files import write_atomic
from nasp.runs.folder import RunFolder, json_object
from nasp.runs.pool import InTurn, Pool, Work, Workplace
from nasp.spaces import Space, find_space
from nasp.supernet.architecture import Architecture
from nasp.training.events import Observer, Warned, nobody
from nasp.training.recipe import computing_as_set

REPORT, BETTER = "repeat.json", "control.json"
"""The report; and the random architecture that did better than all that was found, if one did."""
WEIGHTS = "weights.safetensors"


def run_repeat(
    job: RepeatJob, folder: RunFolder, observe: Observer = nobody, pool: Pool | None = None
) -> dict[str, Any]:
    """Search by every seed, train what was found beside random networks, and keep the best.

    What is done already is not done again; a search that fails does not stop the others.

    Args:
        job: the repeat.
        folder: its folder, with a run of each search in ``seed-N``. It ends with all that a
            search's own has: the kept architecture, and the weights of the supernet of its seed.
        observe: is told which search begins, and what happens within it.
        pool: runs the searches, and then the trainings; default one after the other.

    Returns:
        The report that ``repeat.json`` holds beside the measurements.

    Raises:
        UsageError: a bound that nothing keeps, or too few data.
        NaspError: a search failed, or every network of the selection diverged.
        Interrupted: Ctrl-C or SIGTERM; ``nasp resume`` goes on.
    """
    announce = announced(observe, pool)
    with folder.lock():
        if (done := report_in(folder)) is not None:
            return done
        data = job.domain.read(job.data.in_run(folder.path), observe)
        field = field_of(data, job, folder)
        keep_data(data, job, folder)
        keep_choices(folder, field.start.supernet)
        folder.is_under_way = True
        results = Results(
            folder.path / REPORT,
            job.kind,
            {name: value for name, value in written(job).items() if name != "data"},
            lambda found: report_of(job, found),
            go_on=folder.go_on,
        )
        # All have the very images of the first, whatever else lies there by and by.
        job = job.model_copy(update={"data": job.data.in_run(folder.path)})
        space = find_space(job.space)
        names = {key_of(seed): (folder_of(seed), each) for seed, each in job.searches.items()}

        def search(key: str) -> Work:
            name, own = names[key]
            run = inner_run(folder, name, own)
            hand_out(field.complexity.store, run)
            return Work(key, search_at, SearchRequest(own, folder.go_on), run.path)

        def kept(_: str, answer: dict[str, Any]) -> dict[str, Any]:
            alone = isinstance(pool or InTurn(), InTurn)
            return {"architecture": answer["architecture"], "alone": alone}

        def select(_: None, at: Workplace) -> dict[str, Any]:
            runs = [RunFolder(folder.path / name) for name, _ in names.values()]
            for key, architecture, run in zip(names, found, runs, strict=True):
                if results.measurements[key]["alone"]:  # else others slowed it down
                    take_in(field.complexity, architecture, run)
            return _select(field.config, job, field, found, data, runs, folder, at.tell, pool)

        measure_missing(list(names), search, results, announce, pool, kept)
        results.raise_failures()
        found = [space.parse(results.measurements[key]["architecture"]) for key in names]
        measure_missing([SELECTION], lambda key: Work(key, select, None), results, announce)
        results.raise_failures()
        report = results.report()
        _keep(report, space, folder)
        return report


@computing_as_set
def _select(
    config: SearchConfig,
    job: RepeatJob,
    field: Field,
    found: Sequence[Architecture],
    data: Data,
    runs: Sequence[RunFolder],
    folder: RunFolder,
    observe: Observer,
    pool: Pool | None,
) -> dict[str, Any]:
    supernet, loaders, _ = field.start
    complexity, space, task = field.complexity, find_space(job.space), data.task()
    each_once = distinct(found)
    keeping = list(filter(complexity.is_feasible, each_once))
    entrants = list(dict.fromkeys([*(keeping or each_once), *field.random]))
    config = budgeted(config, len(entrants), job, sum(len(run.metrics()) for run in runs))
    own = job.model_copy(update={"search": config})
    selected = select_among(
        entrants,
        supernet,
        loaders.weights,
        loaders.selection,
        task,
        config,
        folder,
        observe,
        trained_beside(own, data, pool, observe, folder.go_on),
    )
    left_out = [Contender(each) for each in each_once if each not in entrants]

    size = job.domain.sized(run_size(folder, {}, observe))
    figure, is_higher_better = task.figure.name, task.figure.higher_is_better
    if not any(figure in rung for each in selected.contenders for rung in each.rungs):
        figure, is_higher_better = "loss", False

    def network(contender: Contender) -> dict[str, Any]:
        reached = complexity.reached(contender.architecture)
        return {
            "architecture": space.notation(contender.architecture),
            "parameters": parameter_count(space.network(contender.architecture, size)),
            "costs": {each.cost: each.reached for each in reached},
            "keeps_bounds": all(each.is_met for each in reached),
            "figures": [rung.get(figure) for rung in contender.rungs],
        }

    networks = [network(each) for each in [*selected.contenders, *left_out]]
    best = next(each.architecture for each in selected.contenders if each.architecture in each_once)
    for remark in complexity.conclude(best, best):
        observe(Warned(remark))
    return {
        "figure": figure,
        "higher_is_better": is_higher_better,
        "schedule": [rung._asdict() for rung in selected.schedule],
        "networks": networks,
        "random": [space.notation(each) for each in field.random],
        "agreement": agreement(found),
        "chance": field.chance,
    }


def _keep(report: Mapping[str, Any], space: Space, folder: RunFolder) -> None:
    """Give the folder what a search's own has at its end; the architecture comes last."""
    if report["better"] is not None:
        space.parse(report["better"]["architecture"]).save(folder.path / BETTER)
    weights = folder.path / report["kept"]["run"] / WEIGHTS
    with weights.open("rb") as stream:
        write_atomic(folder.path / WEIGHTS, lambda copy: shutil.copyfileobj(stream, copy))
    space.parse(report["kept"]["architecture"]).save(folder.architecture_path)


def report_in(folder: RunFolder) -> dict[str, Any] | None:
    """Return the report of a repeat that is done; None before.

    Raises:
        NaspError: the file is damaged.
    """
    if not folder.architecture_path.is_file():
        return None
    whole = json_object(folder.path / REPORT)
    return {k: v for k, v in whole.items() if k not in OWN}
