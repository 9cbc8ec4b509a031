"""``nasp show``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nasp.cli import options as o
from nasp.cli.fields import Given, command
from nasp.cli.sections import NETWORK

EXAMPLES = """
  nasp show runs/first                            how a search went, and what it found
  nasp show architecture.json --channels 36 --cells 20
  nasp show runs/first --plot curves.png          its curves and alphas as a picture
  nasp show runs/sweep                            the front that a sweep found
  nasp show runs/eight                            what the seeds of a repeat found
"""


@command(NETWORK, examples=EXAMPLES)
def show(
    given: Given,
    target: Annotated[
        str,
        typer.Argument(
            metavar="RUN|ARCH",
            help="A run folder, a sweep's, an architecture.json, or a genotype's text.",
        ),
    ],
    latency: Annotated[
        bool, typer.Option(help="Measure how long an example takes, on this machine.")
    ] = True,
    plot: Annotated[
        Path | None,
        typer.Option(
            help="Draw a run's curves and alphas into this .png, .svg or .pdf; default none."
        ),
    ] = None,
    as_json: o.AsJson = False,
) -> None:
    """Print a run's progress, or an architecture, its cell and what it costs.

    A run's network is measured at the run's own size, unless you say another, and beside it
    random cells of its space at the same size.
    """
    from nasp.bench.contests.repeat.run import report_in
    from nasp.bench.contests.sweep.run import PICTURE, sweep_of
    from nasp.cli.repeat import show_seeds
    from nasp.cli.search_report import (
        architecture_summary,
        draw_run,
        run_summary,
        show_architecture,
        show_average,
        show_costs,
        show_progress,
    )
    from nasp.cli.selection_report import show_selection
    from nasp.cli.sweep import show_sweep
    from nasp.complexity.among_random import COUNTED, TIMED
    from nasp.errors import UsageError
    from nasp.jobs.targets import is_from_python, target_of
    from nasp.report.standing import standing
    from nasp.supernet.architecture import Architecture

    found = target_of(target)
    if not isinstance(found, Architecture) and sweep_of(found) is not None:
        if plot is not None:
            raise UsageError(f"The picture of a sweep is {found.path / PICTURE}.")
        show_sweep(found, as_json)
        return
    if plot is not None:
        draw_run(found, plot)
    summary = {} if isinstance(found, Architecture) else run_summary(found)
    architecture = found
    if not isinstance(found, Architecture) and found.architecture_path.is_file():
        architecture = Architecture.load(found.architecture_path)
    if isinstance(architecture, Architecture):
        run = None if isinstance(found, Architecture) else found
        costs = (*COUNTED, *TIMED) if latency else COUNTED
        measured = standing(architecture, run, given["size"], costs)
        summary["architecture"] = architecture_summary(architecture, measured.config)
        if measured.rows:
            summary["costs"] = [
                {name: value for name, value in row._asdict().items() if name != "others"}
                for row in measured.rows
            ]
            example = measured.example
    if as_json:
        if not isinstance(found, Architecture) and summary["kind"] == "repeat":
            summary["repeat"] = report_in(found)
        o.print_json(summary)
        return
    if not isinstance(found, Architecture):
        if summary["kind"] == "repeat":
            show_seeds(found)
        else:
            show_progress(found)
            show_selection(found)
        show_average(summary["average"])
        if not summary["finished"]:
            call = f"nasp.{summary['kind']}(..., run='{found.path}')"
            go_on = call if is_from_python(found) else f"nasp resume {found.path}"
            typer.echo(f"Not finished. Next: {go_on}")
    if "architecture" in summary:
        show_architecture(summary["architecture"])
    if "costs" in summary:
        show_costs(summary["costs"], example)
