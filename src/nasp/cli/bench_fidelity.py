"""``nasp bench fidelity``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from nasp.cli import options as o
from nasp.cli.contest import Contestants
from nasp.cli.fields import Given, command
from nasp.cli.sections import FIDELITY
from nasp.cli.tables import print_table

SMALLEST_P = 1e-6
"""Below it the tails of the normal approximation say nothing."""

EXAMPLES = """
  nasp bench fidelity                             nasp and random-sharing, the embedded table
  nasp bench fidelity --table nasbench201.csv --data cifar10 --channels 8 --cells 1 --subset 5000
  --samples 200 --batches 16 --json fidelity.json --plot fidelity.png
  nasp bench fidelity --seeds 8 --jobs 4 --cpus-per-job 1 --json fidelity.json
"""


@command(*FIDELITY, examples=EXAMPLES)
def fidelity(
    given: Given,
    samples: Annotated[
        int, typer.Option(min=10, help="Cells, drawn uniformly; all of a space with fewer.")
    ] = 200,
    batches: Annotated[
        int | None,
        typer.Option(min=1, help="Validation batches that a cell is measured on; default all."),
    ] = None,
    json_file: o.KeptFile = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the cells into this .png, .svg or .pdf; default none.")
    ] = None,
) -> None:
    """Tell whether the weights that a search leaves know which cells are good.

    Kendall's rank correlation of accuracy with the shared weights and accuracy in the table. With
    --jobs the figures are the same, but the seconds, which are right where one search runs alone.
    """
    from nasp.bench.contests.fidelity import DEFAULT_STRATEGIES, measure_fidelity
    from nasp.bench.plots import check_plot
    from nasp.training.progress import Watch

    check_plot(plot)
    contest = Contestants(**given["contestants"]).contest(given, DEFAULT_STRATEGIES)
    pool = o.pool(given)
    with Watch() as watch:
        results = measure_fidelity(contest, samples, batches, json_file, watch, pool)
    report = results.report()
    if plot is not None and report["rows"]:
        from nasp.bench.contests.plots import draw_fidelity

        draw_fidelity(report, plot)
    _show(report)
    results.raise_failures()


def _show(report: Mapping[str, Any]) -> None:
    from nasp.bench.contests.fidelity import MEANS

    size = report["parameters"]
    rows = []
    for row in report["rows"]:
        rows.append({**row, **_figures(row), "name": f"{row['name']}, shared weights"})
        if row["by_scores"] is not None:
            own = {**row, **row["by_scores"]}
            rows.append({**own, **_figures(own), "name": f"{row['name']}, its own scores"})
    parameters = {name: f"{size[name]:.2f}" for name in MEANS}
    rows.append({"name": "(parameters)", "p": _chance(size["p"]), **parameters})
    columns = {
        "cells ranked by": "{name}",
        "seeds": "{runs}",
        "τ": "{kendall}",
        "worst": "{worst:.2f}",
        "p": "{p}",
        "τ, upper half": "{kendall_upper}",
        "equal size": "{kendall_alike}",
        "picked, %": "{picked}",
        "search s": "{seconds:.1f}",
        "s": "{ranking_seconds:.1f}",
    }
    print_table(rows, columns)
    table = report["table"]
    typer.echo(
        f"Kendall's τ-b over {len(report['cells'])} cells of the table {table['name']} (best"
        f" {table['best']:.2f} %); equal size: pairs in order less others, of as many parameters;"
        " picked: the cell that is put first."
    )


def _mean(figure: Mapping[str, float]) -> str:
    return "{mean:.2f} ± {std:.2f}".format(**figure)


def _figures(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{
            name: _mean(row[name])
            for name in ("kendall", "kendall_upper", "kendall_alike", "picked")
        },
        "runs": len(row["seeds"]),
        "worst": row["kendall"]["worst"],
        "p": _chance(max(row["p"])),
    }


def _chance(p: float) -> str:
    return f"{p:.2g}" if p >= SMALLEST_P else f"< {SMALLEST_P:g}"
