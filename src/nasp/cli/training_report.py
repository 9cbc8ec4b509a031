"""What trained networks reached, as plain values and as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from nasp.cli.options import print_json
from nasp.cli.tables import print_table
from nasp.domains import every_domain
from nasp.jobs.train import Result, at_equal_time


def training_summary(results: list[Result]) -> list[dict[str, Any]]:
    """Return what a training has to say, a row a network."""
    rows = []
    for result in results:
        trained = result.trained
        name = trained.name
        row: dict[str, Any] = {
            "name": result.name,
            "parameters": result.parameters,
            name: trained.last[name],
            f"best_{name}": trained.best[name],
            "best_epoch": trained.best["epoch"],
            "epochs": trained.last["epoch"],
            "seconds": round(result.seconds, 1),
        }
        if result.test is not None:
            row |= {f"test_{figure}": value for figure, value in result.test.items()}
        row |= {f"{what}_per_second": round(speed, 1) for what, speed in result.speed.items()}
        rows.append(row)
    if results[0].test is not None:
        seconds, figures = at_equal_time(results)
        for row, figure in zip(rows, figures, strict=True):
            row["at_equal_time"] = {"seconds": round(seconds, 1), results[0].trained.name: figure}
    return rows


def tell_training(results: list[Result], folder: Path, as_json: bool) -> None:
    """Print what a training reached, as JSON or for people."""
    if as_json:
        print_json({"run": str(folder), "results": training_summary(results)})
    else:
        show_training(results, folder)


def show_training(results: list[Result], folder: Path) -> None:
    """Print what the trained networks reached."""
    rows, first = training_summary(results), results[0]
    titles = {n: rival.title for d in every_domain() for n, rival in d.by_hand.items()}
    for row in rows:
        row["network"] = titles.get(row["name"], row["name"].replace("random-", "random cell "))
    on, figure = first.trained.measured_on, first.trained.figure.name
    name, form = first.trained.name, ".2%" if figure.endswith("accuracy") else ".2f"
    best = f"{{best_{name}:{form}}} ({{best_epoch}})"
    if first.test is None:
        title = f"{on} {figure} after {first.trained.last['epoch']} epochs".capitalize()
        columns = {"last": f"{{{name}:{form}}}", "best (epoch)": best}
        remark = f"best is picked on the {on} part itself: compare by last."
    else:
        title, equal = figure.replace("_", " ").capitalize(), rows[0]["at_equal_time"]["seconds"]
        columns = {
            "test": f"{{test_{figure}:{form}}}",
            f"{on}, best (epoch)": best,
            f"{on} after {equal:.0f} s": f"{{at_equal_time[{name}]:{form}}}",
            "epochs": "{epochs}",
        }
        remark = f"test is measured with the weights of the epoch that is best on {on}."
    speeds = {f"{what}/s": f"{{{what}_per_second:,.0f}}" for what in first.speed}
    start = {"network": "{network}", "parameters": "{parameters:,}"}
    print_table(rows, {**start, **columns, "seconds": "{seconds:.1f}", **speeds}, title)
    typer.echo(f"{remark}\nTraining folder: {folder} (weights.safetensors, best.safetensors)")
    typer.echo(f"To look at it: nasp report {folder}")
