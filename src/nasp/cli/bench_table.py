"""``nasp bench table``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from nasp.cli import options as o
from nasp.cli.fields import Given, command
from nasp.cli.sections import TABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLES = """
  nasp bench table --json table.json              125 cells on the embedded digits, 3 seeds
  nasp bench table --data fashion-mnist --seeds 3 --json fashion.json
  nasp bench table --json table.json --jobs 4 --cpus-per-job 1
"""


@command(*TABLE, examples=EXAMPLES)
def table(
    given: Given,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each cell.")] = 3,
    json_file: o.KeptFile = None,
) -> None:
    """Train every cell of a small space from scratch: its true accuracies, seed by seed.

    Stop it whenever you like: with --json the same command goes on, and what there is is a fair
    sample, since cells come in one shuffled order. nasp bench quality --table FILE reads it.
    """
    from nasp.bench.tables.making import TableSettings, make_table, table_defaults
    from nasp.domains.images.data import ImageConfig
    from nasp.errors import validated
    from nasp.training.events import Event, Warned
    from nasp.training.progress import Watch

    defaults = table_defaults(given["data"].setdefault("name", "digits"))
    fed = {name: defaults.pop(name) for name in ("batch_size", "subset")} | given["data"]
    data = validated(ImageConfig, fed, "the data")
    settings = validated(TableSettings, {"data": data, **defaults, **given["table"]}, "the table")
    with Watch() as watch:
        # Hundreds of short trainings: a line each is of use to nobody.
        def observe(event: Event) -> None:
            if watch.live or isinstance(event, Warned):
                watch(event)

        results = make_table(settings, seeds, json_file, observe, o.pool(given))
    _show(results.report())
    results.raise_failures()


def _show(report: Mapping[str, Any]) -> None:
    from nasp.bench.seeds import over_seeds

    rows = sorted(report["rows"], key=lambda row: -row["test_accuracy"]["mean"])
    if not rows:
        return
    cells = over_seeds([row["test_accuracy"]["mean"] for row in rows])
    seeds = len(rows[0]["test_accuracy"]["seeds"])
    noise = (sum(row["test_accuracy"]["std"] ** 2 for row in rows) / len(rows)) ** 0.5
    for row in rows[:3]:
        typer.echo(f"{row['test_accuracy']['mean']:6.2f} %  {row['name']}")
    typer.echo(
        f"{len(rows)} cells, {seeds} seeds: best {cells['best']:.2f} %, mean {cells['mean']:.2f},"
        f" worst {cells['worst']:.2f}; std between cells {cells['std']:.2f}"
        + (f", of one cell over seeds {noise:.2f}" if seeds > 1 else "")
    )
