"""``nasp show``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nasp.cli import options as o
from nasp.cli.fields import Given, command
from nasp.cli.sections import NETWORK

EXAMPLES = """
  nasp show runs/first                            how a search went, and what it found
  nasp show architecture.json --channels 36 --cells 20
  nasp show runs/first --plot curves.png          its curves and alphas as a picture
  nasp show runs/sweep                            the front that a sweep found
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
    from nasp.bench.contests.sweep.run import PICTURE, sweep_of
    from nasp.cli.search_report import (
        architecture_summary,
        draw_run,
        run_summary,
        show_architecture,
        show_costs,
        show_progress,
        show_shares,
    )
    from nasp.cli.selection_report import show_selection
    from nasp.cli.sweep import show_sweep
    from nasp.complexity.among_random import COUNTED, TIMED, among_random
    from nasp.domains import default_domain, refuse_foreign
    from nasp.errors import UsageError
    from nasp.jobs.job import Size
    from nasp.jobs.rebuild import run_size
    from nasp.jobs.targets import is_from_python, target_of
    from nasp.spaces import find_space, space_names
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
        size = given["size"]
        named = architecture.space
        space = find_space(named) if named in space_names() else None
        domain = default_domain(None if space is None else space.name)
        refuse_foreign(domain, "network", size, named or "this architecture")
        own: dict[str, Any] = {}
        if not isinstance(found, Architecture) and not is_from_python(found):
            own = run_size(found, size, observe=None)
        said = {n: own[n] for n in (*Size.model_fields, *domain.shape) if n in own}
        config = domain.network(**{**said, **size})
        summary["architecture"] = architecture_summary(architecture, config)
        if space is not None:
            target_network = domain.target(space, config, "cpu")
            names = (*COUNTED, *TIMED) if latency else COUNTED
            rows = among_random(target_network, architecture, names)
            summary["costs"] = [row._asdict() for row in rows]
            example = target_network.example
    if as_json:
        o.print_json(summary)
        return
    if not isinstance(found, Architecture):
        show_progress(found)
        show_selection(found)
        show_shares(summary["shares"])
        if not summary["finished"]:
            call = f"nasp.{summary['kind']}(..., run='{found.path}')"
            go_on = call if is_from_python(found) else f"nasp resume {found.path}"
            typer.echo(f"Not finished. Next: {go_on}")
    if "architecture" in summary:
        show_architecture(summary["architecture"])
    if "costs" in summary:
        show_costs(summary["costs"], example)
