"""``nasp bench quality``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from nasp.cli import options as o
from nasp.cli.contest import Contestants
from nasp.cli.fields import Given, command
from nasp.cli.sections import QUALITY
from nasp.cli.tables import print_table

EXAMPLES = """
  nasp bench quality                              the embedded table: minutes
  nasp bench quality --strategies nasp,darts --contestant "bold=nasp settings.lr=0.01" --seeds 5
  nasp bench quality --table nasbench201.csv --data cifar10 --channels 8 --cells 1 --subset 5000
  --strategies nasp,darts --contestant "control=random select=train" --seconds 600 --seeds 5
  --json quality.json --plot quality.png
  nasp bench quality --seeds 8 --jobs 4 --cpus-per-job 1 --json quality.json
  nasp bench quality --seeds 8 --on ray://head:10001 --gpus-per-job 0.5 --json quality.json
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

    All start from the same weights, halves and batches for a seed, with the same budget. The
    largest network and random cells, with the reference's bounds and selection by training, always
    take part. The file of --json may grow: call again with more seeds or other contestants. With
    --jobs searches find the same, but take longer: seconds are right where one runs alone. What a
    budget of --seconds is worth in epochs is measured alone, whatever --jobs says.
    """
    from nasp.bench.contests.quality import DEFAULT_STRATEGIES, measure_quality
    from nasp.bench.plots import check_plot
    from nasp.training.progress import Watch

    check_plot(plot)
    contest = Contestants(**given["contestants"]).contest(given, DEFAULT_STRATEGIES, reference)
    with Watch() as watch:
        results = measure_quality(contest, reference, json_file, watch, o.pool(given))
    report = results.report()
    if plot is not None and report["rows"]:
        from nasp.bench.contests.plots import draw_quality

        labels = [contestant.label for contestant in contest.contestants]
        draw_quality(report, contest.settings.budget.clock, plot, labels)
    _show(report)
    results.raise_failures()


def _show(report: Mapping[str, Any]) -> None:
    from nasp.bench.contests.quality_rows import MARKS, SECONDS

    table, settings = report["table"], report["settings"]
    rows = sorted(map(dict, report["rows"]), key=lambda row: -row["table_accuracy"]["mean"])
    clock = settings["budget"]["clock"]
    for row in rows:
        marks = [mark for mark, is_so in zip(MARKS, row["marks"], strict=True) if is_so]
        row["name"] = " ".join([row["name"], *marks])
        row["last"] = row["per_epoch"][-1]["table_accuracy"] if row["per_epoch"] else None
    columns = {
        "contestant": "{name}",
        "accuracy": "{table_accuracy[mean]:.2f} ± {table_accuracy[std]:.2f}",
        "worst": "{table_accuracy[worst]:.2f}",
        "best": "{table_accuracy[best]:.2f}",
        "regret": "{regret:.2f}",
        "percentile": "{percentile:.1f}",
        **({"at its cost": "{at_cost[percentile]:.1f}"} if any(r["at_cost"] for r in rows) else {}),
        "free": "{parameterless:.0%}",
        "last epoch": "{last[mean]:.2f}",
        "epochs": "{epochs}",
        "s" if clock == "wall" else "cpu s": f"{{{SECONDS[clock]}:.1f}}",
        "MB": "{peak_bytes:MB}",
    }
    print_table(rows, columns)
    typer.echo(
        f"Accuracy in the table {table['name']} of {table['cells']} cells: best"
        f" {table['best']:.2f} %, median {table['median']:.2f};{_peers(rows)} free: edges without"
        " parameters; last epoch: before the selection."
    )
    for (mark, meaning), index in zip(MARKS.items(), range(len(MARKS)), strict=True):
        if any(row["marks"][index] for row in rows):
            typer.echo(f"{mark} {meaning}")
    budget = settings["budget"]
    limit = (
        f"{budget['epochs']} epochs"
        if budget["seconds"] is None
        else f"{budget['seconds']:g} s by the {budget['clock']} clock"
    )
    typer.echo(
        f"Searched {settings['space']} on {settings['data']['name']}, C={settings['channels']},"
        f" N={settings['cells']}; budget {limit}."
    )
    for compared in report["comparisons"]:
        typer.echo(_sentence(compared))


def _peers(rows: Sequence[Mapping[str, Any]]) -> str:
    counts = sorted({row["at_cost"]["cells"] for row in rows if row["at_cost"]})
    many = f" {counts[0]} to {counts[-1]}" if len(counts) > 1 else "".join(f" {n}" for n in counts)
    return f" at its cost: percentile among the{many} cells that keep its bounds;" if counts else ""


def _sentence(compared: Mapping[str, Any]) -> str:
    p_t = "" if compared["p_t"] is None else f"t-test p = {compared['p_t']:.3f}, "
    return (
        f"{compared['name']} against {compared['against']}: {compared['mean']:+.2f} points over"
        f" {compared['seeds']} seeds ({compared['wins']} won, {compared['losses']} lost;"
        f" {p_t}permutation p = {compared['p_permutation']:.3f})"
    )
