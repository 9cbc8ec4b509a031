"""``nasp sweep``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nasp.cli import options as o
from nasp.cli.fields import Given, command
from nasp.cli.search import Preset, asked_search
from nasp.cli.sections import SWEEP

EXAMPLES = """
  nasp sweep --complexities 0,0.1,0.3,1 --seeds 3            on embedded images
  nasp sweep --data cifar10 --complexities 0,0.1,0.3 --cost macs --epochs 10 --subset 5000
  nasp sweep --data cifar10 --at-most params=2M --at-most params=3M --error train --train-epochs 5
  nasp sweep --target params=100K --target params=200K --within 3% --random 100
  nasp sweep --data cifar10 --space nasbench201 --complexities 0,0.1,1 --error table --table t.csv
  nasp sweep --complexities 0,0.1,0.3,1 --seeds 3 --jobs 4 --cpus-per-job 1
  nasp sweep --complexities 0,0.1,0.3,1 --seeds 3 --on ray --cpus-per-job 1
  nasp resume runs/sweep --jobs 4                            after Ctrl-C
"""


@command(*SWEEP, examples=EXAMPLES)
def sweep(
    given: Given,
    complexities: Annotated[
        str | None,
        typer.Option(help="Comma-separated weights η, one search each and seed; default none."),
    ] = None,
    at_most: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=AMOUNT", help="A bound, one search each and seed; repeatable."),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=AMOUNT", help="A target, one search each and seed; repeatable."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Searches of each, from --seed on.")] = 1,
    size: Annotated[
        str | None,
        typer.Option(
            metavar="channels=N,cells=N",
            help="The size of the networks that are compared; default as nasp train builds them.",
        ),
    ] = None,
    preset: Preset = None,
    out: o.Out = None,
    as_json: o.AsJson = False,
) -> None:
    """Search with several weights, bounds or targets, and draw error against cost."""
    from nasp.bench.contests.sweep.job import sweep_job
    from nasp.bench.contests.sweep.run import begin_sweep
    from nasp.errors import NaspError, UsageError
    from nasp.jobs.options import named_size
    from nasp.jobs.presets import SIZED

    if preset in SIZED:
        raise UsageError(f"Preset '{preset}' has a bound of its own: say --channels and --size.")
    job = asked_search(given, preset)
    plan = sweep_job(
        job,
        _numbers(complexities),
        at_most or [],
        target or [],
        seeds,
        named_size("--size", size),
        **given["sweep"],
    )
    folder = begin_sweep(out or o.new_folder("sweep", job.space), plan)
    try:
        run_and_show(plan, folder, as_json, o.pool(given))
    except NaspError:
        folder.discard_unless_under_way()
        raise


def run_and_show(plan: Any, folder: Any, as_json: bool, pool: Any) -> None:
    """Run a sweep, or go on with it, and print its front."""
    from nasp.bench.contests.sweep.run import run_sweep
    from nasp.training.progress import Watch

    with Watch(quiet=as_json) as watch:
        watch.say(f"{len(plan.settings)} settings, {len(plan.seeds)} seeds; folder {folder.path}")
        report = run_sweep(plan, folder, watch, pool)
    _print(report, folder.path, as_json)


def show_sweep(folder: Any, as_json: bool) -> None:
    """Print the front of a sweep that is done.

    Raises:
        UsageError: it is not done yet.
    """
    from nasp.bench.contests.sweep.run import report_of
    from nasp.errors import UsageError

    report = report_of(folder)
    if report is None:
        raise UsageError(f"The sweep is not finished. Next: nasp resume {folder.path}")
    _print(report, folder.path, as_json)


def _print(report: dict[str, Any], folder: Path, as_json: bool) -> None:
    if as_json:
        o.print_json(report)
        return
    from nasp.cli.tables import print_cells
    from nasp.report.sweep import sweep_remarks, sweep_table

    print_cells(sweep_table(report))
    if report["random"]:
        typer.echo(
            f"better than: of those of {len(report['random'])} random architectures that cost no"
            f" more. One on the front beats {report['random_beaten']:.0%} of all of them in both."
        )
    for remark in sweep_remarks(report):
        typer.echo(remark)
    typer.echo(f"Folder: {folder} (sweep.json, front.png, runs/)")
    typer.echo(f"To look at it: nasp report {folder}")


def _numbers(text: str | None) -> list[float]:
    from nasp.errors import UsageError

    try:
        values = [float(part) for part in o.names(text)]
    except ValueError as error:
        raise UsageError(
            f"--complexities takes numbers such as 0,0.1,0.3, not '{text}'."
        ) from error
    if any(not 0 <= value < float("inf") for value in values):
        raise UsageError("--complexities are weights: none is below 0.")
    return values
