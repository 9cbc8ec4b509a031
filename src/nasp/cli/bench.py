"""``nasp bench``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nasp.cli import options as o

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

COST_EXAMPLES = """
Examples:

  nasp bench cost                                 the project's bar: about ten minutes

  nasp bench cost --rows floor,nasp,nasp-plain --threads 2 --json cost.json

  nasp bench cost --space nasp12 --channels 16 --batch 64 --device cuda --dtype bfloat16
"""

SCALE_EXAMPLES = """
Examples:

  nasp bench scale --json scale.json --plot scale.png

  nasp bench scale --series candidates=2,4,7,12,16 --rows nasp,nasp-plain,darts

  nasp bench scale --series batch=16,64,256 --device cuda --plot batch.svg
"""

Space = Annotated[str, typer.Option(help="The search space's name.")]
Channels = Annotated[int, typer.Option(min=1, help="Channels of the first cell.")]
Cells = Annotated[
    int, typer.Option(min=1, help="Cells in all; in nasbench201 cells a stage, of three.")
]
Batch = Annotated[int, typer.Option(min=1, help="Images a step.")]
ImageSize = Annotated[int, typer.Option(min=4, help="Height and width of an image.")]
Candidates = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Candidates an edge, those with most parameters first, repeated beyond the space's"
        " number; default the space's own.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16 (autocast) or float64.")]
Threads = Annotated[int | None, typer.Option(min=1, help="Threads of torch; default its own.")]
Repeats = Annotated[int, typer.Option(min=5, help="Timed iterations of each row, in all rounds.")]
Rounds = Annotated[
    int, typer.Option(min=1, help="Times the rows take turns, each in a fresh process.")
]
Warmup = Annotated[int, typer.Option(min=1, help="Untimed iterations of each process.")]
Seed = Annotated[int, typer.Option(min=0, help="Fixes weights, data and the path.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write all figures to this file.")]

bench = typer.Typer(
    name="bench",
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Measure what a search costs, beside its rivals, on this machine.",
)


def cost(
    rows: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: floor, nasp-unfused, nasp-plain, or a strategy; default all."
        ),
    ] = None,
    space: Space = "darts",
    channels: Channels = 16,
    cells: Cells = 8,
    batch: Batch = 16,
    image_size: ImageSize = 32,
    candidates: Candidates = None,
    device: Device = "auto",
    dtype: Dtype = "float32",
    threads: Threads = None,
    repeats: Repeats = 6,
    rounds: Rounds = 3,
    warmup: Warmup = 2,
    seed: Seed = 0,
    json_file: Json = None,
) -> None:
    """Measure one A step and one w step of each strategy, and the floor under them."""
    from nasp.bench.cost import measure_cost, save_report
    from nasp.bench.rounds import Plan
    from nasp.bench.settings import BenchSettings
    from nasp.errors import validated

    settings = validated(
        BenchSettings,
        o.given(
            space=space,
            channels=channels,
            cells=cells,
            batch=batch,
            image_size=image_size,
            candidates=candidates,
            device=device,
            dtype=dtype,
            threads=threads,
            seed=seed,
        ),
        "the measurement",
    )
    plan = Plan(repeats=repeats, rounds=rounds, warmup=warmup)
    report = measure_cost(settings, _names(rows), plan, _say())
    if json_file is not None:
        save_report(report, json_file)
    _show_cost(report)


def scale(
    series: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=N,N,...",
            help="Vary candidates, cells, channels or batch over these values; repeatable;"
            " default all four.",
        ),
    ] = None,
    rows: Annotated[
        str, typer.Option(help="Comma-separated: rows of nasp bench cost.")
    ] = "nasp,nasp-plain",
    space: Space = "darts",
    channels: Channels = 16,
    cells: Cells = 8,
    batch: Batch = 16,
    image_size: ImageSize = 32,
    device: Device = "auto",
    dtype: Dtype = "float32",
    threads: Threads = None,
    repeats: Repeats = 6,
    rounds: Rounds = 2,
    warmup: Warmup = 2,
    seed: Seed = 0,
    json_file: Json = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the figures into this .png, .svg or .pdf.")
    ] = None,
) -> None:
    """Measure how time and memory grow with candidates, cells, channels and batch."""
    from nasp.bench.cost import save_report
    from nasp.bench.rounds import Plan
    from nasp.bench.scale import SERIES, curves, measure_scale
    from nasp.bench.scale_plot import check_plot, draw
    from nasp.bench.settings import BenchSettings
    from nasp.errors import validated

    settings = validated(
        BenchSettings,
        o.given(
            space=space,
            channels=channels,
            cells=cells,
            batch=batch,
            image_size=image_size,
            device=device,
            dtype=dtype,
            threads=threads,
            seed=seed,
        ),
        "the measurement",
    )
    if plot is not None:
        check_plot(plot)
    plan = Plan(repeats=repeats, rounds=rounds, warmup=warmup)
    varied = dict(map(_series, series)) if series else SERIES
    report = measure_scale(settings, varied, _names(rows) or [], plan, _say())
    if json_file is not None:
        save_report(report, json_file)
    if plot is not None:
        title = f"{space}, C={channels}, {cells} cells, batch {batch}, {dtype}"
        draw(curves(report), title, plot)
    _show_scale(report)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _series(text: str) -> tuple[str, list[int]]:
    from nasp.errors import UsageError

    name, _, values = text.partition("=")
    try:
        return name, [int(value) for value in values.split(",")]
    except ValueError as error:
        raise UsageError(f"--series takes NAME=N,N,..., not '{text}'.") from error


def _say() -> Callable[[str], None]:
    from rich.console import Console

    console = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)
    return console.print


def _show_cost(report: Mapping[str, Any]) -> None:
    columns = ("s", "min", "max", "× nasp", "× floor", "peak MB", "× floor", "GFLOP")
    rows = [
        [
            row["name"],
            f"{row['seconds']['median']:.3f}",
            f"{row['seconds']['min']:.3f}",
            f"{row['seconds']['max']:.3f}",
            _ratio(row["ratio_to_nasp"]),
            _ratio(row["ratio_to_floor"]),
            f"{row['peak_bytes'] / 1e6:.0f}",
            _ratio(row["memory_ratio_to_floor"]),
            f"{row['flops'] / 1e9:.3g}",
        ]
        for row in report["rows"]
    ]
    _show_table(("row", *columns), rows)
    _show_machine(report)


def _show_scale(report: Mapping[str, Any]) -> None:
    rows = [
        [
            f"{point['series']}={point['value']}",
            point["name"],
            f"{point['arch_seconds']['median']:.3f}",
            f"{point['weight_seconds']['median']:.3f}",
            f"{point['peak_bytes'] / 1e6:.0f}",
            f"{point['flops'] / 1e9:.3g}",
        ]
        for point in report["points"]
    ]
    _show_table(("series", "row", "A step, s", "w step, s", "peak MB", "GFLOP"), rows)
    _show_machine(report)


def _show_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=0)
    for column in columns:
        is_text = column in ("series", "row")
        table.add_column(column, justify="left" if is_text else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 120  # a file has no edge at which figures must be cut
    console.print(table)


def _show_machine(report: Mapping[str, Any]) -> None:
    machine, settings = report["machine"], report["settings"]
    typer.echo(
        f"Medians of {settings['repeats']} iterations in {settings['rounds']} rounds;"
        f" {settings['space']}, C={settings['channels']}, {settings['cells']} cells,"
        f" batch {settings['batch']}, {settings['dtype']};"
        f" {machine['cpu']}, {machine['threads']} threads, device {machine['device']},"
        f" torch {machine['torch']}"
    )


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


cost.__doc__ = f"{cost.__doc__}\n{COST_EXAMPLES}"
scale.__doc__ = f"{scale.__doc__}\n{SCALE_EXAMPLES}"
bench.command()(cost)
bench.command()(scale)
