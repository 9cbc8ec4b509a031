"""``nasp predict``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from nasp.cli import options as o
from nasp.cli.fields import command

EXAMPLES = """
  nasp predict runs/first photo.jpg other.png
  nasp predict runs/first photos/ --top 1         every image in a folder and below it
  find photos -name '*.jpg' | nasp predict network.onnx -
"""


@command(examples=EXAMPLES)
def predict(
    target: Annotated[
        str,
        typer.Argument(
            metavar="RUN|EXPORT",
            help="A run folder, or what nasp export wrote: a .py (which is run), .onnx or .pt2.",
        ),
    ],
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...", help="Images, folders of them, or - for paths from standard input."
        ),
    ],
    top: Annotated[int, typer.Option(min=1, help="Classes told of each file.")] = 3,
    weights: o.Weights = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Files at once.")] = 64,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON a file; the default into a pipe.")
    ] = False,
) -> None:
    """Tell which classes files belong to: a table at a terminal, else a line of JSON a file.

    A damaged file is named, the others are still predicted, and the exit code is 1.
    """
    from nasp.cli.tables import print_table
    from nasp.jobs.predict import files_of, predictions, predictor_of
    from nasp.training.progress import Watch

    with Watch(quiet=True) as watch:
        predictor = predictor_of(target, weights, watch)
    is_table = sys.stdout.isatty() and not as_json
    rows: list[dict[str, Any]] = []
    damaged = 0
    for each in predictions(predictor, files_of(_paths(files)), top, batch_size):
        if each.error is not None:
            damaged += 1
            typer.echo(f"nasp: {each.error}", err=True)
            line: dict[str, Any] = {"path": str(each.path), "error": each.error}
        else:
            classes = [{"class": name, "probability": share} for name, share in each.top]
            line = {"path": str(each.path), **classes[0], "top": classes}
            others = (f"{name} {share:.1%}" for name, share in each.top[1:])
            rows.append({**line, "others": ", ".join(others)})
        if not is_table:
            typer.echo(json.dumps(line))
    if is_table:
        columns = {"file": "{path}", "class": "{class}", "then": "{others}"}
        print_table(rows, {**columns, "probability": "{probability:.1%}"}, words=3)
    if damaged:
        raise typer.Exit(1)


def _paths(given: list[str]) -> Iterator[str]:
    for path in given:
        if path == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        else:
            yield path
