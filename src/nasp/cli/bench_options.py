"""The options that every command of ``nasp bench`` about steps has, said once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from nasp.cli import options as o

if TYPE_CHECKING:
    from nasp.bench.rounds import Plan
    from nasp.bench.settings import BenchSettings


def measurement(
    space: Annotated[str, typer.Option(help="The search space's name.")] = "darts",
    channels: Annotated[int, typer.Option(min=1, help="Channels of the first cell.")] = 16,
    cells: Annotated[
        int, typer.Option(min=1, help="Cells in all; in nasbench201 cells a stage, of three.")
    ] = 8,
    batch: Annotated[int, typer.Option(min=1, help="Images a step.")] = 16,
    image_size: Annotated[int, typer.Option(min=4, help="Height and width of an image.")] = 32,
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
) -> tuple[BenchSettings, Plan]:
    """Return what these options ask for: what is measured, and how often."""
    from nasp.bench.rounds import Plan
    from nasp.bench.settings import BenchSettings
    from nasp.errors import validated

    settings = o.given(
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
    )
    plan = Plan(repeats=repeats, rounds=rounds, warmup=warmup)
    return validated(BenchSettings, settings, "the measurement"), plan


def with_measurement(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `measurement`; it takes `settings` and `plan` instead."""
    own = _parameters(command)
    shared = _parameters(measurement)
    options = [p for p in own if p.name not in ("settings", "plan")] + shared

    def run(**values: Any) -> None:
        settings, plan = measurement(**{p.name: values.pop(p.name) for p in shared})
        command(settings=settings, plan=plan, **values)

    run.__name__, run.__doc__ = command.__name__, command.__doc__
    # Typer reads the options off these two.
    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in options}
    return run


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    # Neither type is an option's, and importing them would load torch for a mere --help.
    unloaded = {"BenchSettings": Any, "Plan": Any}
    types = get_type_hints(function, localns=unloaded, include_extras=True)
    return [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=types[parameter.name])
        for parameter in inspect.signature(function).parameters.values()
    ]
