"""The options that every command of ``nasp bench`` about steps has, said once."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nasp.cli import options as o
from nasp.cli.sharing import sharing


def measurement(
    space: Annotated[str, typer.Option(help="The search space's name.")] = "darts",
    channels: Annotated[
        int, typer.Option(min=1, help="Channels of the first cell; of recurrent, its units.")
    ] = 16,
    cells: Annotated[
        int, typer.Option(min=1, help="Cells in all; in nasbench201 cells a stage, of three.")
    ] = 8,
    batch: Annotated[int, typer.Option(min=1, help="Images a step; of a text, columns.")] = 16,
    image_size: Annotated[int, typer.Option(min=4, help="Height and width of an image.")] = 32,
    bptt: Annotated[int, typer.Option(min=1, rich_help_panel=o.TEXT, help="Tokens a column.")] = 35,
    vocabulary: Annotated[
        int, typer.Option(min=2, rich_help_panel=o.TEXT, help="Number of tokens.")
    ] = 10_000,
    candidates: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Candidates an edge, those with most parameters first, repeated beyond the"
            " space's number; default the space's own.",
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[
        str, typer.Option(help="float32, bfloat16 (autocast) or float64.")
    ] = "float32",
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads of torch; default its own.")
    ] = None,
    repeats: Annotated[
        int, typer.Option(min=5, help="Timed iterations of each row, in all rounds.")
    ] = 6,
    rounds: Annotated[
        int, typer.Option(min=1, help="Times the rows take turns, each in a fresh process.")
    ] = 3,
    warmup: Annotated[int, typer.Option(min=1, help="Untimed iterations of each process.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="Fixes weights, data and the path.")] = 0,
) -> dict[str, Any]:
    """Return what these options ask for: `settings`, what is measured, and `plan`, how often."""
    from nasp.bench.steps.rounds import Plan
    from nasp.bench.steps.settings import BenchSettings
    from nasp.errors import validated

    settings = o.given(
        space=space,
        channels=channels,
        cells=cells,
        batch=batch,
        image_size=image_size,
        bptt=bptt,
        vocabulary=vocabulary,
        candidates=candidates,
        device=device,
        dtype=dtype,
        threads=threads,
        seed=seed,
    )
    plan = Plan(repeats=repeats, rounds=rounds, warmup=warmup)
    return {"settings": validated(BenchSettings, settings, "the measurement"), "plan": plan}


with_measurement = sharing(measurement, types=("BenchSettings", "Plan"))
"""Gives a command these options; it takes `settings` and `plan` instead."""
