"""``nasp bench``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nasp.cli import options as o
from nasp.cli.fields import Given, command
from nasp.cli.sections import STEPS
from nasp.cli.tables import print_table

if TYPE_CHECKING:
    from nasp.bench.steps.rounds import Repetition
    from nasp.bench.steps.settings import BenchSettings

COST_EXAMPLES = """
  nasp bench cost                                 the project's bar: about ten minutes
  nasp bench cost --rows floor,nasp,nasp-plain --threads 2 --json cost.json
  nasp bench cost --space nasp12 --channels 16 --batch 64 --device cuda --dtype bfloat16
  nasp bench cost --space recurrent --channels 300 --cells 1 --batch 64
"""

SCALE_EXAMPLES = """
  nasp bench scale --json scale.json --plot scale.png
  nasp bench scale --series candidates=2,4,7,12,16 --rows nasp,nasp-plain,darts
  nasp bench scale --series batch=16,64,256 --device cuda --plot batch.svg
"""


@command(*STEPS, examples=COST_EXAMPLES)
def cost(
    given: Given,
    rows: Annotated[
        str | None,
        typer.Option(
            help="Comma-separated: floor, nasp-unfused, nasp-plain, nasp-uniform or a strategy;"
            " default all."
        ),
    ] = None,
    json_file: o.KeptFile = None,
) -> None:
    """Measure one A step and one w step of each strategy, and the floor under them."""
    from nasp.bench.steps.cost import measure_cost
    from nasp.training.progress import Watch

    settings, repetition = _measurement(given)
    with Watch() as watch:
        results = measure_cost(settings, o.names(rows), repetition, json_file, watch)
    _show_cost(results.report())
    results.raise_failures()


@command(*STEPS, examples=SCALE_EXAMPLES)
def scale(
    given: Given,
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
    json_file: o.KeptFile = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw the figures into this .png, .svg or .pdf; default none."),
    ] = None,
) -> None:
    """Measure how time and memory grow with candidates, cells, channels and batch."""
    from nasp.bench.plots import check_plot
    from nasp.bench.steps.scale import SERIES, measure_scale
    from nasp.training.progress import Watch

    check_plot(plot)
    settings, repetition = _measurement(given)
    varied = dict(map(_series, series)) if series else SERIES
    with Watch() as watch:
        results = measure_scale(settings, varied, o.names(rows), repetition, json_file, watch)
    report = results.report()
    if plot is not None and report["points"]:
        from nasp.bench.steps.scale_plot import draw_scale

        draw_scale(report, _setting(report), plot)
    _show_scale(report)
    results.raise_failures()


def _measurement(given: Given) -> tuple[BenchSettings, Repetition]:
    from nasp.bench.steps.rounds import Repetition
    from nasp.bench.steps.settings import BenchSettings
    from nasp.errors import validated

    settings = validated(BenchSettings, given["settings"], "the measurement")
    return settings, validated(Repetition, given["repetition"], "the measurement")


def _series(text: str) -> tuple[str, list[int]]:
    from nasp.errors import UsageError

    name, _, values = text.partition("=")
    try:
        return name, [int(value) for value in values.split(",")]
    except ValueError as error:
        raise UsageError(f"--series takes NAME=N,N,..., not '{text}'.") from error


def _show_cost(report: Mapping[str, Any]) -> None:
    columns = {
        "row": "{name}",
        "s": "{seconds[median]:.3f}",
        "min": "{seconds[min]:.3f}",
        "max": "{seconds[max]:.3f}",
        "× nasp": "{ratio_to_nasp:.2f}",
        "× floor": "{ratio_to_floor:.2f}",
        "peak MB": "{peak_bytes:MB}",
        "× floor's": "{memory_ratio_to_floor:.2f}",
        "held MB": "{held_bytes:MB}",
        "GFLOP": "{flops:G}",
    }
    print_table(report["rows"], columns)
    steps = [
        {
            "name": row["name"],
            "step": step,
            "ms": 1e3 * row[f"{step}_seconds"]["median"],
            "busy": 1e3 * row[f"{step}_work"]["busy_seconds"],
            **row[f"{step}_work"],
        }
        for row in report["rows"]
        for step in ("arch", "weight")
        if row[f"{step}_work"] is not None
    ]
    if steps:
        columns = {
            "row": "{name}",
            "step": "{step}",
            "ms": "{ms:.1f}",
            "busy ms": "{busy:.1f}",
            "kernels": "{kernels:,}",
            "graphs": "{graphs:,}",
            "waits": "{synchronisations:,}",
            "to host": "{copies_to_host:,}",
            "to device": "{copies_to_device:,}",
            "peak MB": "{peak_bytes:MB}",
        }
        print_table(steps, columns, words=2)
    _show_machine(report)


def _show_scale(report: Mapping[str, Any]) -> None:
    columns = {
        "series": "{series}={value}",
        "row": "{name}",
        "A step, s": "{arch_seconds[median]:.3f}",
        "w step, s": "{weight_seconds[median]:.3f}",
        "peak MB": "{peak_bytes:MB}",
        "GFLOP": "{flops:G}",
    }
    print_table(report["points"], columns, words=2)
    _show_machine(report)


def _show_machine(report: Mapping[str, Any]) -> None:
    machine, settings = report["machine"], report["settings"]
    if machine is None:
        return
    typer.echo(
        f"Medians of {settings['repeats']} iterations in {settings['rounds']} rounds;"
        f" {_setting(report)}; {machine['cpu']}, {machine['threads']} threads,"
        f" device {machine['device']}, torch {machine['torch']}"
    )


def _setting(report: Mapping[str, Any]) -> str:
    settings = report["settings"]
    return (
        f"{settings['space']}, C={settings['channels']}, {settings['cells']} cells,"
        f" batch {settings['batch']}, {settings['dtype']}"
    )
