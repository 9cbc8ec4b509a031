"""``nasp resume``."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from nasp.cli import options as o
from nasp.cli.fields import Given, command
from nasp.cli.sections import POOL

EXAMPLES = """
  nasp resume runs/first              a search
  nasp resume runs/first --epochs 80  a finished search, which is to have 80 epochs in all
  nasp resume runs/first/train        a training
  nasp resume runs/photos --data folder:/new/place    the same images, which were moved
  nasp resume runs/sweep --jobs 2     all searches of a sweep that are not done, two at once
  nasp resume runs/first --jobs 2     a search, and the trainings of --select train two at once
  nasp resume runs/eight --jobs 2     all searches of a repeat likewise
"""


@command(POOL, examples=EXAMPLES)
def resume(
    given: Given,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of what was stopped.")],
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Of a finished search: how many it is to have in all; default no more."
        ),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="Where the run's data are now; default where they were.")
    ] = None,
    devices: Annotated[
        int | None,
        typer.Option(min=1, help="Devices that share each batch; default as before."),
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(min=1, help="Machines with so many; default as before.")
    ] = None,
    log: o.Log = None,
    as_json: o.AsJson = False,
) -> None:
    """Go on with a search, training, repeat or sweep that was stopped, as if it never had been."""
    from nasp.bench.contests.sweep.run import sweep_of
    from nasp.cli.repeat import repeat_and_show
    from nasp.cli.search import selection_pool
    from nasp.cli.search_report import tell_search
    from nasp.cli.sweep import run_and_show
    from nasp.cli.training_report import tell_training
    from nasp.errors import UsageError
    from nasp.jobs.repeat import RepeatJob
    from nasp.jobs.search import run_search_job
    from nasp.jobs.search_job import SearchJob
    from nasp.jobs.targets import job_of
    from nasp.jobs.train import run_train_job
    from nasp.report.tracking import told
    from nasp.runs.folder import RunFolder
    from nasp.training.progress import Watch
    from nasp.training.together import together

    folder = RunFolder.open(run)
    plan = sweep_of(folder)
    job = None if plan is not None else job_of(folder)
    if epochs is not None:
        if not isinstance(job, SearchJob) or isinstance(job, RepeatJob):
            raise UsageError(f"Only a search goes on for more epochs; {run} holds another thing.")
        folder.extend(epochs, job.search.epochs)
    if data is not None and plan is not None:
        plan = plan.model_copy(update={"search": plan.search.moved(data)})
    elif data is not None and job is not None:
        job = job.moved(data)
    is_many = plan is not None or isinstance(job, RepeatJob)
    if is_many and (devices is not None or nodes is not None):
        raise UsageError(
            f"A {folder.config()['kind']} has one device a search: leave out --devices and --nodes."
        )
    if log is not None and is_many:
        raise UsageError(f"A {folder.config()['kind']} tells no tracker: leave out --log.")
    if plan is not None:
        run_and_show(plan, folder, as_json, o.pool(given))
        return
    if isinstance(job, RepeatJob):
        repeat_and_show(job, folder, as_json, o.pool(given))
        return
    assert job is not None
    if given["pool"] and not isinstance(job, SearchJob):
        raise UsageError(
            f"{run} is one training: leave out --{next(iter(given['pool'])).replace('_', '-')}."
        )
    job = job.on(devices, nodes)
    pool = selection_pool(given, job) if isinstance(job, SearchJob) else None
    with together(job.recipe, lambda: nullcontext(folder)) as own:
        assert own is not None
        watch, log = Watch(quiet=as_json), None if own.is_copy else log
        if isinstance(job, SearchJob):
            with watch, told(watch, log, own) as observe:
                found = run_search_job(job, own, observe, pool)
            summary = tell_search(own, found.architecture, as_json)
            if as_json:
                o.print_json(summary)
            return
        with watch, told(watch, log, own) as observe:
            results = run_train_job(job, own, observe)
        tell_training(results, run, as_json)
