"""``nasp compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nasp.cli import options as o
from nasp.cli.fields import command

if TYPE_CHECKING:
    from nasp.report.comparison import Compared

EXAMPLES = """
  nasp compare runs/a runs/b runs/c     what differs in their settings, and what came of it
  nasp compare runs/a/train runs/b/train
"""


@command(examples=EXAMPLES)
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN...", help="The folders of searches or trainings, two or more."),
    ],
    as_json: o.AsJson = False,
) -> None:
    """Print runs side by side: settings that differ, curves, results."""
    from nasp.cli.tables import print_cells
    from nasp.report.comparison import compared, differing, differing_settings, results
    from nasp.runs.folder import RunFolder

    found = compared([RunFolder.open(path) for path in runs])
    settings = differing_settings(found)
    having = [each for each in found if each.edges]
    edges = differing([each.edges for each in having]) if len(having) > 1 else {}
    if as_json:
        told = [each._asdict() for each in found]
        o.print_json({"runs": told, "settings": settings, "edges": edges})
        return
    _print_side_by_side("Settings that differ", "setting", settings, found)
    for metric in dict.fromkeys(name for each in found for name in each.curves):
        _print_curves(metric, [each for each in found if metric in each.curves])
    print_cells(results(found))
    if len(having) > 1:
        _print_side_by_side("Edges that differ", "edge", edges, having)


def _print_side_by_side(
    title: str, what: str, rows: dict[str, list[Any]], runs: list[Compared]
) -> None:
    from nasp.cli.tables import print_cells
    from nasp.report.comparison import side_by_side

    if rows:
        print_cells(side_by_side(title, what, rows, runs))
    else:
        typer.echo(f"{title}: none.\n")


def _print_curves(metric: str, runs: list[Compared]) -> None:
    from nasp.cli.tables import print_table
    from nasp.report.comparison import best, sparkline

    curves = {each.name: each.curves[metric] for each in runs}
    bests = {name: best(metric, values) for name, values in curves.items()}
    known = [v for values in curves.values() for v in values if v is not None and abs(v) < 1e9]
    low, high = min(known, default=0.0), max(known, default=0.0)
    epochs = max(len(values) for values in curves.values())
    rows = [
        {
            "run": name,
            "curve": sparkline(values, low, high, epochs),
            "first": values[0],
            "last": values[-1],
            "best": None if (found := bests[name]) is None else found[0],
            "epoch": None if found is None else found[1],
        }
        for name, values in curves.items()
    ]
    form = ".2%" if metric.endswith("accuracy") else ".4g"
    figures = {name: f"{{{name}:{form}}}" for name in ("first", "last", "best")}
    columns = {"run": "{run}", "curve": "{curve}", **figures, "in epoch": "{epoch}"}
    print_table(rows, columns, metric.replace("_", " "), words=2)
