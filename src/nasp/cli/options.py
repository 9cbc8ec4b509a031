"""The options that several commands share, each said once."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

TEXT = "Options for text"

Epochs = Annotated[int | None, typer.Option(min=1, help="Passes over the training data.")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Images a step; of a text, columns.")]
Channels = Annotated[
    int | None, typer.Option(min=1, help="Channels of the first cell; of recurrent, its units.")
]
Cells = Annotated[
    int | None, typer.Option(min=1, help="Cells in all; in nasbench201 cells a stage, of three.")
]
Subset = Annotated[
    int | None,
    typer.Option(min=1, help="Use only this many training images (in a search, of each half)."),
]
Cutout = Annotated[
    int | None, typer.Option(min=0, help="Side of the square cut out of each image; 0 for none.")
]
DataDir = Annotated[
    Path | None, typer.Option(help="Where data sets lie; default $NASP_DATA, else ~/.cache/nasp.")
]
ImageSize = Annotated[
    int | None, typer.Option(min=4, help="Side to which the images of a folder are brought.")
]
Lr = Annotated[float | None, typer.Option(help="Learning rate of the weights at the start.")]
WeightDecay = Annotated[float | None, typer.Option(min=0, help="Weight decay of the weights.")]
Seed = Annotated[int, typer.Option(min=0, help="Fixes the run on one machine.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Deterministic = Annotated[
    bool,
    typer.Option(
        "--deterministic/--fast",
        help="On a CUDA device: one seed, one run, or whatever is fastest.",
    ),
]
Precision = Annotated[str, typer.Option(help="32-true, bf16-mixed, 16-mixed or 64-true.")]
Accumulate = Annotated[
    int, typer.Option(min=1, help="Parts a batch is split into, to save memory.")
]
Minutes = Annotated[
    float, typer.Option("--checkpoint-minutes", help="Checkpoint this often within an epoch, too.")
]
Workers = Annotated[
    int, typer.Option(min=0, help="Processes that read images which do not fit in memory.")
]
Tokens = Annotated[
    str | None, typer.Option(rich_help_panel=TEXT, help="words or char; default words.")
]
Bptt = Annotated[
    int | None,
    typer.Option(min=1, rich_help_panel=TEXT, help="Tokens of a column in a step; default 35."),
]
Varied = Annotated[
    bool | None,
    typer.Option(
        "--varied-bptt/--fixed-bptt",
        rich_help_panel=TEXT,
        help="Let that length vary; default in training.",
    ),
]
DropoutRates = Annotated[
    list[str] | None,
    typer.Option(
        "--dropout",
        metavar="NAME=P",
        rich_help_panel=TEXT,
        help="output, hidden, input, embedding or word; repeatable.",
    ),
]
Out = Annotated[Path | None, typer.Option(help="The run folder; default one under runs/.")]
ImageSide = Annotated[
    int | None, typer.Option(min=4, help="Height and width of an image; default 32.")
]
InChannels = Annotated[int | None, typer.Option(min=1, help="Channels of an image; default 3.")]
Classes = Annotated[int | None, typer.Option(min=2, help="Number of classes; default 10.")]
KeptFile = Annotated[
    Path | None,
    typer.Option("--json", help="Keep all in this file; a call that was stopped goes on from it."),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the summary as JSON, and nothing else but warnings.")
]


def given(**options: Any) -> dict[str, Any]:
    """Return the options that the user gave."""
    return {name: value for name, value in options.items() if value is not None}


def names(text: str | None) -> list[str]:
    """Return the names of a comma-separated list."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def rates(dropout: list[str] | None) -> dict[str, Any] | None:
    """Return the probabilities of dropout that the user gave."""
    from nasp.jobs.options import named_values

    return named_values("--dropout", dropout) if dropout else None


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
