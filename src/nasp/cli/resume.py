"""``nasp resume``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nasp.cli import options as o
from nasp.cli.fields import command

EXAMPLES = """
  nasp resume runs/first              a search
  nasp resume runs/first/train        a training
  nasp resume runs/sweep              all searches of a sweep that are not done
"""


@command(examples=EXAMPLES)
def resume(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of what was stopped.")],
    as_json: o.AsJson = False,
) -> None:
    """Go on with a search, training or sweep that was stopped; it ends as if it never had been."""
    from nasp.bench.contests.sweep.run import sweep_of
    from nasp.cli.search_report import tell_search
    from nasp.cli.sweep import run_and_show
    from nasp.cli.training_report import tell_training
    from nasp.cli.watch import Watch
    from nasp.jobs.search import SearchJob, run_search_job
    from nasp.jobs.targets import job_of
    from nasp.jobs.train import run_train_job
    from nasp.runs.folder import RunFolder

    folder = RunFolder.open(run)
    plan = sweep_of(folder)
    if plan is not None:
        run_and_show(plan, folder, as_json)
        return
    job = job_of(folder)
    with Watch(quiet=as_json) as watch:
        if isinstance(job, SearchJob):
            found = run_search_job(job, folder, watch)
            summary = tell_search(folder, found.architecture, as_json)
            if as_json:
                o.print_json(summary)
            return
        results = run_train_job(job, folder, watch)
    tell_training(results, run, as_json)
