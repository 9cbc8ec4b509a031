"""What trained networks reached, as plain values and as a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import typer

from nasp.cli.tables import number, print_table
from nasp.jobs.train import Result, at_equal_time

Rows = list[dict[str, Any]]
Columns = Sequence[str]
Cells = Callable[[dict[str, Any]], Sequence[object]]


def training_summary(results: list[Result]) -> Rows:
    """Return what a training has to say, a row a network."""
    rows = []
    for result in results:
        trained = result.trained
        name = f"{trained.measured_on}_{trained.figure.name}"
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
            row["at_equal_time"] = {"seconds": round(seconds, 1), "valid_perplexity": figure}
    return rows


def show_training(results: list[Result], folder: Path) -> None:
    """Print what the trained networks reached."""
    rows = training_summary(results)
    columns, cells, title, remark = (_images if results[0].test is None else _text)(rows)
    print_table(
        ("network", "parameters", *columns),
        [(_named(row["name"]), f"{row['parameters']:,}", *cells(row)) for row in rows],
        title,
    )
    typer.echo(f"{remark}\nTraining folder: {folder} (weights.safetensors, best.safetensors)")


def _images(rows: Rows) -> tuple[Columns, Cells, str, str]:
    return (
        ("last", "best (epoch)", "seconds"),
        lambda row: (
            f"{row['test_accuracy']:.2%}",
            f"{row['best_test_accuracy']:.2%} ({row['best_epoch']})",
            f"{row['seconds']:.1f}",
        ),
        f"Test accuracy after {rows[0]['epochs']} epochs",
        "best is picked on the test images themselves: compare by last.",
    )


def _text(rows: Rows) -> tuple[Columns, Cells, str, str]:
    equal = f"valid after {rows[0]['at_equal_time']['seconds']:.0f} s"
    return (
        ("test", "valid, best (epoch)", equal, "epochs", "seconds", "tokens/s"),
        lambda row: (
            f"{row['test_perplexity']:.2f}",
            f"{row['best_valid_perplexity']:.2f} ({row['best_epoch']})",
            number(row["at_equal_time"]["valid_perplexity"], ".2f"),
            row["epochs"],
            f"{row['seconds']:.1f}",
            f"{row['tokens_per_second']:,.0f}",
        ),
        "Perplexity",
        "test is measured with the weights of the epoch that is best on valid.",
    )


def _named(name: str) -> str:
    by_hand = {"resnet": "hand-made residual network", "lstm": "LSTM"}
    return by_hand.get(name, name.replace("random-", "random cell "))
