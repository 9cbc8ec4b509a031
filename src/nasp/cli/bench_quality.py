"""``nasp bench quality``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nasp.cli import options as o

EXAMPLES = """
Examples:

  nasp bench quality                              the embedded table: minutes

  nasp bench quality --strategies nasp,darts --contender "bold=nasp settings.lr=0.01" --seeds 5

  nasp bench quality --table nasbench201.csv --data cifar10 --channels 8 --cells 1 --subset 5000
  --strategies nasp,darts --contender "control=random select=train" --seconds 600 --seeds 5
  --json quality.json --plot quality.png
"""


def quality(
    strategies: Annotated[
        str | None,
        typer.Option(help="Comma-separated, with their default settings; see --contender."),
    ] = None,
    contender: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'LABEL=STRATEGY key=value ...'",
            help="A variant: keys are settings of a search (select=train, selection.epochs=8) or"
            " of the strategy (settings.lr=0.01, exploration=0.2); repeatable.",
        ),
    ] = None,
    table: Annotated[
        str | None,
        typer.Option(
            help="Every cell's accuracy: a .csv with arch and test_accuracy, a .json of nasp bench"
            " table, or nats:PATH; default embedded, for digits and fashion-mnist."
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(help="What is searched on; default the table's, where it says so."),
    ] = None,
    space: Annotated[
        str | None, typer.Option(help="The space of a table in CSV; default nasbench201.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Searches of each contender.")] = 3,
    first_seed: Annotated[int, typer.Option(min=0, help="The seeds count from here.")] = 0,
    epochs: o.Epochs = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.1, help="Instead of --epochs: what search and selection may take."),
    ] = None,
    epoch_steps: Annotated[
        int | None,
        typer.Option(
            min=1, help="Steps of an epoch, so that --seconds are met finely; default a pass."
        ),
    ] = None,
    clock: Annotated[
        str, typer.Option(help="Which seconds: wall, or cpu (where a machine is shared).")
    ] = "wall",
    channels: o.Channels = None,
    cells: o.Cells = None,
    batch_size: o.BatchSize = None,
    subset: o.Subset = None,
    cutout: o.Cutout = None,
    data_dir: o.DataDir = None,
    image_size: o.ImageSize = None,
    workers: o.Workers = 2,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of torch.")] = None,
    device: o.Device = "auto",
    reference: Annotated[
        str, typer.Option(help="The contender that all others are compared with, seed by seed.")
    ] = "nasp",
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json", help="Keep all in this file; a call that was stopped goes on from it."
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw accuracy against seconds into .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Compare what strategies find, in a space whose every cell's accuracy is known.

    All start from the same weights, halves and batches for a seed, with the same budget. The file
    of --json may grow: call again with more seeds or other contenders.
    """
    from nasp.bench.contender import contenders_of
    from nasp.bench.quality import DEFAULT_STRATEGIES, measure_quality
    from nasp.bench.quality_plot import draw_quality
    from nasp.bench.quality_settings import quality_settings
    from nasp.bench.scale_plot import check_plot
    from nasp.cli.quality_report import show_quality
    from nasp.cli.watch import Watch

    if plot is not None:
        check_plot(plot)
    names = DEFAULT_STRATEGIES if strategies is None and not contender else o.names(strategies)
    contenders = contenders_of(names, contender or [])
    settings, truth = quality_settings(
        table,
        data,
        space,
        o.given(epochs=epochs, seconds=seconds, epoch_steps=epoch_steps, clock=clock),
        o.given(channels=channels, cells=cells, threads=threads, device=device),
        o.given(
            batch_size=batch_size,
            subset=subset,
            cutout=cutout,
            root=data_dir,
            image_size=image_size,
            workers=workers,
        ),
    )
    with Watch() as watch:
        numbers = range(first_seed, first_seed + seeds)
        results = measure_quality(settings, contenders, numbers, truth, reference, json_file, watch)
    report = results.report()
    if plot is not None and report["rows"]:
        draw_quality(report, settings.budget.clock, plot)
    show_quality(report)
    results.raise_failures()


quality.__doc__ = f"{quality.__doc__}\n{EXAMPLES}"
