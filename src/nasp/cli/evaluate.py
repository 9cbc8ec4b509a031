"""``nasp evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nasp.cli import options as o
from nasp.cli.fields import command

if TYPE_CHECKING:
    from nasp.domains.evaluation import Evaluation

EXAMPLES = """
  nasp evaluate runs/first                        on the run's own test part
  nasp evaluate runs/photos --data folder:/new/photos
  nasp evaluate runs/photos --weights last --out evaluation --json
"""
SHOWN_CLASSES = 30
"""Rows of the table of classes."""
SHOWN_PAIRS = 5


@command(examples=EXAMPLES)
def evaluate(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A training's or search's folder.")],
    data: Annotated[
        str | None,
        typer.Option(
            help="Other labelled data, such as folder:DIR, whose test part is taken, or all of"
            " it where there is none; or where the run's own data are now; default the run's."
        ),
    ] = None,
    weights: o.Weights = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for evaluation.json, confusion.png and mistakes.png;"
            " default evaluation in the run folder."
        ),
    ] = None,
    as_json: o.AsJson = False,
) -> None:
    """Measure a run's network on what it did not learn from: accuracy, classes, mistakes.

    Of a text: its perplexity.
    """
    from nasp.jobs.evaluate import evaluate_run
    from nasp.report.evaluation import draw_confusion, draw_mistakes
    from nasp.runs.files import write_text_atomic
    from nasp.runs.folder import RunFolder
    from nasp.training.progress import Watch

    opened = RunFolder.open(run)
    with Watch(quiet=as_json) as watch:
        rebuilt, found = evaluate_run(opened, data, weights, watch)
    folder = out or opened.path / "evaluation"
    files = [folder / "evaluation.json"]
    if found.classes:
        files += [folder / "confusion.png", folder / "mistakes.png"]
        draw_confusion(found, files[1])
        draw_mistakes(found, files[2])
    summary = {
        "run": str(rebuilt.run),
        "weights": rebuilt.weights,
        **found.as_dict(),
        "files": list(map(str, files)),
    }
    write_text_atomic(files[0], json.dumps(summary) + "\n")
    if as_json:
        o.print_json(summary)
        return
    for name, value in found.figures.items():
        shape = ".2%" if name == "top5" or name.endswith("accuracy") else ".4f"
        typer.echo(f"{name.replace('_', ' ')} {value:{shape}}")
    typer.echo(f"on {found.on}; weights: {rebuilt.weights} of {rebuilt.run}")
    if found.classes:
        _show_classes(found)
    typer.echo(f"Wrote {', '.join(map(str, files))}")


def _show_classes(found: Evaluation) -> None:
    from nasp.cli.tables import print_table

    rows = found.by_class()
    title = "Classes"
    if len(rows) > SHOWN_CLASSES:
        rows = sorted(rows, key=_recall)[:SHOWN_CLASSES]
        title = f"The {SHOWN_CLASSES} classes of {len(found.classes)} with the lowest recall"
    columns = {"class": "{class}", "precision": "{precision:.1%}", "recall": "{recall:.1%}"}
    print_table(rows, {**columns, "examples": "{examples}"}, title)
    wrong = found.confusion.clone().fill_diagonal_(0)
    for place in wrong.flatten().argsort(descending=True, stable=True)[:SHOWN_PAIRS].tolist():
        row, column = divmod(place, len(found.classes))
        if wrong[row, column]:
            names = f"{found.classes[row]} taken for {found.classes[column]}"
            typer.echo(f"{names}: {wrong[row, column]} of {found.confusion[row].sum()}")


def _recall(row: dict[str, Any]) -> float:
    return 2.0 if row["recall"] is None else row["recall"]
