"""What trained networks reached, as plain values and as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from nasp.jobs.job_folders import Result, at_equal_time


def training_summary(results: list[Result]) -> list[dict[str, Any]]:
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
        if result.tokens_per_second is not None:
            row["tokens_per_second"] = round(result.tokens_per_second, 1)
        rows.append(row)
    if results[0].tokens_per_second is not None:
        seconds, figures = at_equal_time(results)
        for row, figure in zip(rows, figures, strict=True):
            row["at_equal_time"] = {"seconds": round(seconds, 1), "valid_perplexity": figure}
    return rows


def show_training(results: list[Result], folder: Path) -> None:
    """Print what the trained networks reached."""
    rows = training_summary(results)
    console = Console(highlight=False, markup=False)
    if results[0].test is None:
        _show_images(rows, console)
    else:
        _show_text(rows, console)
    console.print(
        f"Training folder: {folder} (weights.safetensors, best.safetensors)", soft_wrap=True
    )


def _show_images(rows: list[dict[str, Any]], console: Console) -> None:
    table = _table(f"Test accuracy after {rows[0]['epochs']} epochs")
    for name in ("last", "best (epoch)", "seconds"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            _named(row["name"]),
            f"{row['parameters']:,}",
            f"{row['test_accuracy']:.2%}",
            f"{row['best_test_accuracy']:.2%} ({row['best_epoch']})",
            f"{row['seconds']:.1f}",
        )
    console.print(table)
    console.print("best is picked on the test images themselves: compare by last.")


def _show_text(rows: list[dict[str, Any]], console: Console) -> None:
    equal = rows[0]["at_equal_time"]["seconds"]
    table = _table("Perplexity")
    names = ("test", "valid, best (epoch)", f"valid after {equal:.0f} s", "epochs", "seconds")
    for name in (*names, "tokens/s"):
        table.add_column(name, justify="right")
    for row in rows:
        then = row["at_equal_time"]["valid_perplexity"]
        table.add_row(
            _named(row["name"]),
            f"{row['parameters']:,}",
            f"{row['test_perplexity']:.2f}",
            f"{row['best_valid_perplexity']:.2f} ({row['best_epoch']})",
            "" if then is None else f"{then:.2f}",
            f"{row['epochs']}",
            f"{row['seconds']:.1f}",
            f"{row['tokens_per_second']:,.0f}",
        )
    console.print(table)
    console.print("test is measured with the weights of the epoch that is best on valid.")


def _table(title: str) -> Table:
    table = Table(title=title)
    table.add_column("network")
    table.add_column("parameters", justify="right")
    return table


def _named(name: str) -> str:
    by_hand = {"resnet": "hand-made residual network", "lstm": "LSTM"}
    return by_hand.get(name, name.replace("random-", "random cell "))
