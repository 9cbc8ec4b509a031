"""What a report says of a sweep: its front, point by point."""

from __future__ import annotations

from typing import Any, NamedTuple

from nasp.bench.contests.sweep.run import report_of, sweep_of
from nasp.complexity.quantity import Quantity, find_quantity
from nasp.errors import UsageError
from nasp.report.cells import Cell, draw_cells, ends_of
from nasp.report.charts import Dots
from nasp.report.facts import Fact, settings_of
from nasp.report.moves import Moves
from nasp.report.tables import Table, table_of
from nasp.runs.folder import RunFolder
from nasp.spaces import find_space
from nasp.spaces.sampling import small_supernet

CONTROLS = {"params": "the largest", "random": "random ones, trained for as long"}
"""Control of a sweep -> what people are told that it is."""


class Found(NamedTuple):
    """One search of a sweep.

    Attributes:
        name: setting and seed.
        on_front: whether no other beats it in both cost and error.
        facts: its cost and error, and where its run is.
        path: edge -> candidate.
        architecture: in its space's notation.
    """

    name: str
    on_front: bool
    facts: list[Fact]
    path: dict[str, str | None]
    architecture: str


class Sweep(NamedTuple):
    """A finished sweep.

    Attributes:
        name: of its folder.
        path: of its folder.
        lead: one sentence of what it was.
        chart: error against cost.
        table: a row a setting.
        remarks: how it compares with its controls and with random ones.
        points: those on the front first.
        cells: the drawing that all share.
        moves: what can stand on each edge.
        config: as its folder holds it.
        settings: section -> setting -> value.
    """

    name: str
    path: str
    lead: str
    chart: Dots
    table: Table
    remarks: list[str]
    points: list[Found]
    cells: list[Cell]
    moves: Moves
    config: dict[str, Any]
    settings: dict[str, dict[str, str]]


def sweep_table(report: dict[str, Any]) -> Table:
    """Return what each setting of a sweep reached.

    Args:
        report: of `nasp.bench.contests.sweep.run`.
    """
    quantity = find_quantity(report["cost"])
    controls = {
        control["name"]: {row["setting"]: row["error"] for row in control["rows"]}
        for control in report.get("controls", ())
    }
    rows = [
        {
            **row,
            **{f"cost {name}": quantity.written(row["cost"][name]) for name in row["cost"]},
            **{name: errors.get(row["name"]) for name, errors in controls.items()},
            "name": row["name"] + "*" * row.get("is_start", False),
        }
        for row in report["rows"]
    ]
    columns = {
        "setting": "{name}",
        quantity.label: "{cost mean}",
        "from": "{cost min}",
        "to": "{cost max}",
        "error": "{error[mean]:.2%}",
        "error from": "{error[min]:.2%}",
        "error to": "{error[max]:.2%}",
        "on front": "{on_front}",
        "better than": "{better_than:.0%}",
        **{f"error of {CONTROLS[name]}": f"{{{name}:.2%}}" for name in controls},
    }
    return table_of(rows, columns, f"{quantity.label} ({report['network']}); {report['error']}")


def sweep_remarks(report: dict[str, Any]) -> list[str]:
    """Return in words how a sweep does beside its controls, over settings and seeds.

    Args:
        report: of `nasp.bench.contests.sweep.run`.
    """
    remarks = [
        f"Against {CONTROLS[control['name']]}: errors {-100 * control['mean']:+.2f} points in the"
        f" mean of {control['pairs']} pairs, lower in {control['wins']}, higher in"
        f" {control['losses']} (p {control['p_permutation']:.2g}, by flipped signs); the smaller"
        f" area under the front in {control['smaller_area']} of {control['seeds']}."
        for control in report.get("controls", ())
    ]
    if any(row.get("is_start", False) for row in report["rows"]):
        remarks.append("*: returned, with every seed, what it started from: no search is shown.")
    return remarks


def read_sweep(folder: RunFolder) -> Sweep:
    """Read the folder of a sweep.

    Raises:
        UsageError: it is not finished.
    """
    job, report = sweep_of(folder), report_of(folder)
    if job is None or report is None:
        raise UsageError(f"The sweep is not finished. Next: nasp resume {folder.path}")
    space, quantity = find_space(job.search.space), find_quantity(report["cost"])
    tables = small_supernet(space).tables.values()
    candidates = {edge: list(table.candidates) for table in tables for edge in table.edges}
    points = sorted(report["points"], key=lambda point: (not point["on_front"], point["cost"]))
    remarks = sweep_remarks(report)
    if report["random"]:
        remarks.append(
            f"Beside them stand {len(report['random'])} random architectures: one on the front"
            f" beats {report['random_beaten']:.0%} of them in both cost and error."
        )
    common = job.search
    return Sweep(
        name=folder.path.name,
        path=str(folder.path),
        lead=(
            f"{len(job.settings)} settings, {len(job.seeds)} seeds each, of"
            f" {common.search.strategy} in {common.space} on {common.data.name}."
        ),
        chart=_chart(report, quantity),
        table=sweep_table(report),
        remarks=remarks,
        points=[
            Found(
                f"{point['setting']}, seed {point['seed']}",
                point["on_front"],
                [
                    Fact(quantity.label, quantity.written(point["cost"])),
                    Fact("error", f"{point['error']:.2%}"),
                    Fact("run", point["run"]),
                ],
                dict(space.parse(point["architecture"]).edges),
                point["architecture"],
            )
            for point in points
        ],
        cells=draw_cells(candidates, ends_of(space)),
        moves=Moves(candidates, [], []),
        config=folder.config(),
        settings=settings_of(folder),
    )


def _chart(report: dict[str, Any], quantity: Quantity) -> Dots:
    """Return error against cost; costs in the unit that people write the largest in."""
    unit, size = quantity.unit(max(p["cost"] for p in [*report["points"], *report["random"]]))

    def place(point: dict[str, Any]) -> tuple[float, float]:
        return point["cost"] / size, point["error"]

    groups = {"random": [place(point) for point in report["random"]]} if report["random"] else {}
    for row in report["rows"]:
        own = (point for point in report["points"] if point["setting"] == row["name"])
        groups[row["name"]] = [place(point) for point in own]
    front = sorted(place(point) for point in report["points"] if point["on_front"])
    label = f"{quantity.label}, {unit}" if unit else quantity.label
    return Dots("Error against cost", label, report["error"], groups, front)
