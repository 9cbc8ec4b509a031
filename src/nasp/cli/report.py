"""``nasp report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nasp.cli.fields import command

EXAMPLES = """
  nasp report runs/first                 writes runs/first/report.html: open it in a browser
  nasp report runs/first runs/second --to both.html
  nasp report runs/sweep                 the front, point by point
"""


@command(examples=EXAMPLES)
def report(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="Run folders, of searches, trainings or sweeps."),
    ],
    to: Annotated[
        Path | None,
        typer.Option(help="The file; default report.html in the folder of the first run."),
    ] = None,
    latency: Annotated[
        bool, typer.Option(help="Measure the network's latency, too, on this machine.")
    ] = False,
) -> None:
    """Write one HTML file that shows runs, finished or not: open it in a browser.

    It shows the cell as a graph and what each edge could have been, how path and alphas moved,
    curves, warnings, the selection, costs beside random networks, a sweep's front, several runs
    side by side, and how to make them again. It needs no network.
    """
    from nasp.report.page import write_page
    from nasp.report.read import read_runs

    path = to or runs[0] / "report.html"
    write_page(read_runs(runs, latency), path)
    typer.echo(f"Written: {path}")
