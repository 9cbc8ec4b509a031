"""``nasp bench quality``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nasp.cli import options as o
from nasp.cli.contest import Contestants
from nasp.cli.fields import Given, command
from nasp.cli.sections import QUALITY

EXAMPLES = """
  nasp bench quality                              the embedded table: minutes

  nasp bench quality --strategies nasp,darts --contestant "bold=nasp settings.lr=0.01" --seeds 5

  nasp bench quality --table nasbench201.csv --data cifar10 --channels 8 --cells 1 --subset 5000
  --strategies nasp,darts --contestant "control=random select=train" --seconds 600 --seeds 5
  --json quality.json --plot quality.png
"""


@command(*QUALITY, examples=EXAMPLES)
def quality(
    given: Given,
    reference: Annotated[
        str, typer.Option(help="The contestant that all others are compared with, seed by seed.")
    ] = "nasp",
    json_file: o.KeptFile = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw accuracy against seconds into .png, .svg or .pdf; default none."),
    ] = None,
) -> None:
    """Compare what strategies find, in a space whose every cell's accuracy is known.

    All start from the same weights, halves and batches for a seed, with the same budget. The file
    of --json may grow: call again with more seeds or other contestants.
    """
    from nasp.bench.contests.quality import DEFAULT_STRATEGIES, measure_quality
    from nasp.bench.plots import check_plot
    from nasp.cli.quality_report import show_quality
    from nasp.cli.watch import Watch

    check_plot(plot)
    contest = Contestants(**given["contestants"]).contest(given, DEFAULT_STRATEGIES)
    with Watch() as watch:
        results = measure_quality(contest, reference, json_file, watch)
    report = results.report()
    if plot is not None and report["rows"]:
        from nasp.bench.contests.plots import draw_quality

        labels = [contestant.label for contestant in contest.contestants]
        draw_quality(report, contest.settings.budget.clock, plot, labels)
    show_quality(report)
    results.raise_failures()
