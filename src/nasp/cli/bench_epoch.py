"""``nasp bench epoch``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nasp.cli import options as o
from nasp.cli.fields import Given, command
from nasp.cli.sections import EPOCH
from nasp.cli.tables import print_table

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLES = """
  nasp bench epoch --device cuda                  an epoch of the paper's search on CIFAR-10
  nasp bench epoch --strategies nasp,darts --steps 40 --json epoch.json
"""


@command(EPOCH, examples=EXAMPLES)
def epoch(
    given: Given,
    strategies: Annotated[str, typer.Option(help="Comma-separated strategies.")] = "nasp",
    json_file: o.KeptFile = None,
) -> None:
    """Measure whole epochs of a search: data, augmentation, both steps, metrics, checkpoint.

    Where CIFAR-10 is not there, random bytes of its shape stand in for it.
    """
    from nasp.bench.steps.epoch import EpochSettings, measure_epochs
    from nasp.errors import validated
    from nasp.training.progress import Watch

    settings = validated(EpochSettings, given["settings"], "the measurement")
    with Watch() as watch:
        results = measure_epochs(settings, o.names(strategies), json_file, watch)
    _show(results.report())
    results.raise_failures()


def _show(report: Mapping[str, Any]) -> None:
    settings, machine = report["settings"], report["machine"]
    rows = [
        {
            **row,
            "each": ", ".join(f"{seconds:.2f}" for seconds in row["epoch_seconds"]),
            "ms": 1e3 * row["seconds"] / settings["steps"],
        }
        for row in report["rows"]
    ]
    columns = {
        "strategy": "{name}",
        "images": "{data}",
        "s": "{seconds:.2f}",
        "each epoch, s": "{each}",
        "ms an iteration": "{ms:.1f}",
        "peak MB": "{peak_bytes:MB}",
    }
    print_table(rows, columns, words=2)
    if machine is not None:
        typer.echo(
            f"Epochs of {settings['steps']} iterations, the last one's seconds first;"
            f" {settings['space']}, C={settings['channels']}, {settings['cells']} cells,"
            f" batch {settings['batch_size']}, {settings['precision']};"
            f" {machine['cpu']}, {machine['threads']} threads, device {machine['device']},"
            f" torch {machine['torch']}"
        )
