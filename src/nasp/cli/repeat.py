"""``nasp repeat``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from nasp.cli import options as o
from nasp.cli.fields import Given, command
from nasp.cli.search import BoundAt, Preset, asked_search
from nasp.cli.sections import REPEAT

if TYPE_CHECKING:
    from nasp.jobs.repeat import RepeatJob
    from nasp.runs.folder import RunFolder
    from nasp.runs.pool import Pool

EXAMPLES = """
  nasp repeat --seeds 4                           on embedded images
  nasp repeat --seeds 8 --data folder:photos --space mobile --at-most latency=5ms
  nasp repeat --data cifar10 --epochs 25 --select-epochs 200 --out runs/eight
  nasp repeat --data cifar10 --epochs 25 --select-epochs 200 --out runs/eight    goes on with it
  nasp repeat --seeds 8 --jobs 4 --cpus-per-job 1    four searches at once
  nasp train runs/eight                           what was kept, from scratch
"""


@command(*REPEAT, examples=EXAMPLES)
def repeat(
    given: Given,
    bound_at: BoundAt = None,
    preset: Preset = None,
    out: o.Out = None,
    as_json: o.AsJson = False,
) -> None:
    """Search by several seeds, keep the best after trainings under one budget, show the spread.

    Random networks are trained beside what was found: where they do as well, the search brings
    nothing. They keep the same bounds, and are never kept themselves.
    """
    from nasp.errors import NaspError
    from nasp.jobs.repeat import begin_or_go_on, repeat_job

    search = asked_search(given, preset, bound_at)
    job = repeat_job(search, given["repeat"])
    name = job.data.name.replace(":", "-").replace("/", "-")
    folder = begin_or_go_on(out or o.new_folder("repeat", name, job.space), job)
    try:
        repeat_and_show(job, folder, as_json, o.pool(given))
    except NaspError:
        folder.discard_unless_under_way()
        raise


def repeat_and_show(job: RepeatJob, folder: RunFolder, as_json: bool, pool: Pool) -> None:
    """Run a repeat, or go on with it, and print what it found."""
    from nasp.bench.contests.repeat.run import run_repeat
    from nasp.training.progress import Watch

    with Watch(quiet=as_json) as watch:
        watch.say(f"{job.seeds} searches of {job.space} on {job.data.name}; folder {folder.path}")
        report = run_repeat(job, folder, watch, pool)
    _print(report, folder, as_json)


def show_seeds(folder: RunFolder) -> None:
    """Print the table of a repeat that is done, and what it says; else which searches are."""
    from nasp.bench.contests.repeat.run import report_in
    from nasp.cli.tables import print_cells
    from nasp.report.repeat import repeat_remarks, repeat_table

    report = report_in(folder)
    if report is None:
        done = sorted(path.parent.name for path in folder.path.glob("seed-*/architecture.json"))
        typer.echo(f"Searches that are done: {', '.join(done) or 'none'}")
        return
    print_cells(repeat_table(report))
    for remark in repeat_remarks(report, folder):
        typer.echo(remark)


def _print(report: dict[str, Any], folder: RunFolder, as_json: bool) -> None:
    from nasp.cli.search_report import architecture_summary, show_architecture
    from nasp.supernet.architecture import Architecture

    found = architecture_summary(Architecture.load(folder.architecture_path))
    if as_json:
        o.print_json({"run": str(folder.path), **report, "architecture": found})
        return
    show_seeds(folder)
    show_architecture(found)
    typer.echo(
        f"Run folder: {folder.path} (repeat.json, the runs seed-N)\n"
        f"Next: nasp train {folder.path}\nTo look at it: nasp report {folder.path}"
    )
