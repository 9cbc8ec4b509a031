"""The options that several commands share, each said once."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

Out = Annotated[Path | None, typer.Option(help="The run folder; default one under runs/.")]
KeptFile = Annotated[
    Path | None,
    typer.Option(
        "--json",
        help="Keep all in this file; a call that was stopped goes on from it; default none.",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        help="best or last (of a training), inherit (a search's own), fresh;"
        " default the first of them that there is."
    ),
]
Log = Annotated[
    str | None,
    typer.Option(
        help="Tell a tracker, which writes into the run's folder: tensorboard, wandb or mlflow;"
        " default none."
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the summary as JSON, and nothing else but warnings.")
]


def pool(given: Mapping[str, Mapping[str, Any]]) -> Any:
    """Return the pool that a command was asked for."""
    from nasp.errors import validated
    from nasp.runs.pool import PoolConfig, crowded, pool_of

    config = validated(PoolConfig, given["pool"], "the jobs")
    threads = given.get("contest", {}).get("threads")
    if (advice := crowded(config, threads)) is not None:
        typer.echo(f"nasp: {advice}", err=True)
    return pool_of(config, threads)


def names(text: str | None) -> list[str]:
    """Return the names of a comma-separated list."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def print_json(value: Any) -> None:
    """Print a value as JSON."""
    typer.echo(json.dumps(value, indent=2))


def new_folder(*parts: str) -> Path:
    """Return a folder under runs/ that is named by the time and what runs in it."""
    stem = "-".join((time.strftime("%Y%m%d-%H%M%S"), *parts))
    folder, count = Path("runs") / stem, 1
    while folder.exists():
        count += 1
        folder = Path("runs") / f"{stem}-{count}"
    return folder
