"""What trained networks reached, as plain values and as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

from nasp.cli.tables import number, print_table
from nasp.domains import every_domain
from nasp.jobs.train import Result, at_equal_time

Rows = list[dict[str, Any]]
Columns = Sequence[str]
Cells = Callable[[dict[str, Any]], Sequence[object]]


def training_summary(results: list[Result]) -> Rows:
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


def show_training(results: list[Result], folder: Path) -> None:
    """Print what the trained networks reached."""
    show = _measured_at_the_end if results[0].test is not None else _measured_all_along
    columns, cells, title, remark = show(results)
    titles = {domain.by_hand: domain.by_hand_title for domain in every_domain()}

    def named(name: str) -> str:
        return titles.get(name, name.replace("random-", "random cell "))

    print_table(
        ("network", "parameters", *columns),
        [
            (named(row["name"]), f"{row['parameters']:,}", *cells(row))
            for row in training_summary(results)
        ],
        title,
    )
    typer.echo(f"{remark}\nTraining folder: {folder} (weights.safetensors, best.safetensors)")


def _measured_all_along(results: list[Result]) -> tuple[Columns, Cells, str, str]:
    first = results[0]
    name, on, form = first.trained.name, first.trained.measured_on, _form(first)
    return (
        ("last", "best (epoch)", "seconds"),
        lambda row: (
            f"{row[name]:{form}}",
            f"{row[f'best_{name}']:{form}} ({row['best_epoch']})",
            f"{row['seconds']:.1f}",
        ),
        f"{name.replace('_', ' ').capitalize()} after {first.trained.last['epoch']} epochs",
        f"best is picked on the {on} part itself: compare by last.",
    )


def _measured_at_the_end(results: list[Result]) -> tuple[Columns, Cells, str, str]:
    first, (seconds, _) = results[0], at_equal_time(results)
    name, on, form = first.trained.name, first.trained.measured_on, _form(first)
    figure = first.trained.figure.name
    equal = f"{on} after {seconds:.0f} s"
    return (
        (
            "test",
            f"{on}, best (epoch)",
            equal,
            "epochs",
            "seconds",
            *(f"{w}/s" for w in first.speed),
        ),
        lambda row: (
            f"{row[f'test_{figure}']:{form}}",
            f"{row[f'best_{name}']:{form}} ({row['best_epoch']})",
            number(row["at_equal_time"][name], form),
            row["epochs"],
            f"{row['seconds']:.1f}",
            *(f"{row[f'{what}_per_second']:,.0f}" for what in first.speed),
        ),
        figure.capitalize(),
        f"test is measured with the weights of the epoch that is best on {on}.",
    )


def _form(result: Result) -> str:
    return ".2%" if result.trained.figure.name == "accuracy" else ".2f"
