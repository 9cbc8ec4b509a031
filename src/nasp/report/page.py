"""The page: one HTML file, whole in itself, of runs that were read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.metadata import version
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nasp.report import charts
from nasp.report.beside import beside_each_other
from nasp.report.charts import Chart, Lines
from nasp.report.contents import Contents
from nasp.report.standing import costs_table, spreads
from nasp.report.sweep import Sweep
from nasp.runs.files import write_text_atomic

_DIGITS = 4
"""Of alphas on the page."""


class Tab(NamedTuple):
    """A part of the page."""

    title: str
    heading: str
    body: Markup


def write_page(runs: Sequence[Contents | Sweep], path: Path) -> None:
    """Write the report of runs; of several there is a part that shows them side by side.

    Raises:
        UsageError: what draws the charts is not installed.
        NaspError: the file cannot be written.
    """
    write_text_atomic(path, page_of(runs))


def page_of(runs: Sequence[Contents | Sweep]) -> str:
    """Return the report of runs as HTML; see `write_page`."""
    templates = templates_of_page()
    return templates.get_template("report.html.j2").render(
        title=f"Report of {', '.join(run.name for run in runs)}",
        tabs=list(_tabs(templates, runs)),
        version=version("nasp-torch"),
        paths=[run.path for run in runs],
    )


def templates_of_page() -> Environment:
    """Return the templates, which escape whatever is put into them."""
    environment = Environment(
        loader=PackageLoader("nasp.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        drawn=lambda chart: Markup(charts.drawn(chart)),
        source=source,
        colours=colours,
        moving=moving,
        first_grids=first_grids,
        edge_charts=edge_charts,
        spreads=spreads,
        costs_table=costs_table,
        next_calls=next_calls,
    )
    return environment


def _tabs(environment: Environment, runs: Sequence[Contents | Sweep]) -> Iterator[Tab]:
    """Yield the parts of one run, or what compares several and then each run."""
    if len(runs) == 1:
        yield from _parts(environment, runs[0], "r0")
        return

    def whole(number: int, run: Contents | Sweep) -> Tab:
        parts = _parts(environment, run, f"r{number}")
        bodies = (Markup("<h3>{}</h3>{}").format(part.heading, part.body) for part in parts)
        return Tab(run.name, run.name, Markup("").join(bodies))

    repeats = {n for n, run in enumerate(runs) if isinstance(run, Contents) and run.seeds}
    yield from (whole(number, runs[number]) for number in sorted(repeats))
    searched = [run for run in runs if isinstance(run, Contents) and run.asked.kind != "repeat"]
    if len(searched) > 1:
        macros: Any = environment.get_template("beside.html.j2").module
        yield Tab("Side by side", "Side by side", macros.compare(beside_each_other(searched)))
    yield from (whole(number, run) for number, run in enumerate(runs) if number not in repeats)


def _parts(environment: Environment, run: Contents | Sweep, prefix: str) -> Iterator[Tab]:
    if isinstance(run, Sweep):
        sweep: Any = environment.get_template("sweep.html.j2").module
        yield Tab("Front", "Error against cost", sweep.front(run))
        yield Tab("Point by point", "Point by point", sweep.points(run))
        yield Tab("Again", "How to make it again", sweep.again(run))
        return
    parts: Any = environment.get_template("run.html.j2").module
    heading = "What was found" if run.is_finished else "What stands so far"
    yield Tab("Found", heading, parts.found(run, prefix))
    if run.seeds is not None:
        yield Tab("Seeds", "What each seed found", parts.seeds(run))
    if run.curves:
        yield Tab("Curves", "Curves by epoch", parts.curves(run))
    if run.selection is not None:
        yield Tab("Selection", "How the result was selected", parts.selection(run))
    if run.training is not None:
        yield Tab("Training", "What training reached", parts.training(run))
    yield Tab("Costs", "What the network costs", parts.costs(run))
    yield Tab("Again", "How to make it again", parts.again(run))


def source(name: str) -> Markup:
    """Return a style sheet or script of ours as it is."""
    return Markup((files("nasp.report") / "templates" / name).read_text(encoding="utf-8"))


def colours(run: Contents | Sweep) -> dict[str, int]:
    """Return candidate -> the number of its colour on the page."""
    names = dict.fromkeys(chain.from_iterable(run.moves.candidates.values()))
    return {name: number % charts.COLOURS for number, name in enumerate(names)}


def first_grids(run: Contents) -> set[int]:
    """Return the numbers of the grids that are the first to have their edges."""
    edges = [frozenset(grid.edges) for grid in run.moves.grids]
    return {number for number, own in enumerate(edges) if own not in edges[:number]}


def moving(run: Contents) -> dict[str, Any]:
    """Return what the page's script shows of each epoch."""
    rounded = [
        [[[round(value, _DIGITS) for value in row] for row in rows] for rows in grid.entries]
        for grid in run.moves.grids
    ]
    return {
        "stops": [stop._asdict() for stop in run.moves.stops],
        "grids": [
            {**grid._asdict(), "entries": entries}
            for grid, entries in zip(run.moves.grids, rounded, strict=True)
        ],
        "colours": colours(run),
    }


def edge_charts(run: Contents) -> list[tuple[str, list[Chart]]]:
    """Return cell -> a chart of each edge's alphas by epoch, the start being epoch 0."""
    found = []
    grids = [grid for grid in run.moves.grids if grid.title == "Alphas"]
    for cell in run.cells:
        own: list[Chart] = []
        for edge in cell.edges:
            for grid in (grid for grid in grids if edge.name in grid.edges):
                row = grid.edges.index(edge.name)
                series: dict[str, list[float | None]] = {
                    name: [rows[row][column] for rows in grid.entries]
                    for column, name in enumerate(grid.candidates)
                }
                at = [float(epoch) for epoch in range(len(grid.entries))]
                own.append(Lines(edge.label, "epoch", "alpha", at, series, False, colours(run)))
        found.append((cell.title if len(run.cells) > 1 else "", own))
    return found


def next_calls(run: Contents) -> list[str]:
    """Return what people do next with a run."""
    if run.asked.job is None:
        if run.asked.kind == "train":
            return ["nasp.export(network, ...)"]
        return ["nasp.train(found, train_loader, val_loader)", "nasp.export(found.build(), ...)"]
    if not run.is_finished:
        return [run.asked.go_on]
    train = [f"nasp train {run.path}"] if run.asked.kind != "train" else []
    return [*train, f"nasp export {run.path}", f"nasp show {run.path}"]
