"""What a network costs, beside random ones, as a table."""

from __future__ import annotations

from typing import Any

import typer

from nasp.cli.tables import print_table
from nasp.complexity.quantity import find_quantity


def show_costs(rows: list[dict[str, Any]], example: str) -> None:
    """Print each cost of a network, the mean of random ones, and how many are cheaper.

    Args:
        rows: `nasp.complexity.standing.Standing` as dictionaries.
        example: what goes through the network, such as ``"image"``.
    """
    cells = []
    for row in rows:
        quantity = find_quantity(row["cost"])
        written = {name: quantity.written(row[name]) for name in ("value", "mean")}
        spread = f" ± {quantity.written(row['spread'])}" if row["spread"] else ""
        cells.append({**row, **written, "label": quantity.label, "spread": spread})
    columns = {
        "cost": "{label}",
        "this network": "{value}{spread}",
        f"mean of {rows[0]['random']} random": "{mean}",
        "cheaper than it": "{cheaper:.0%}",
    }
    print_table(cells, columns, f"One {example} through it")
    for row in rows:
        if row["cost"] == "latency" and row["estimate"] != row["value"]:
            typer.echo(
                "Random ones are timed by the sum of their candidates; so timed, this network"
                f" takes {find_quantity('latency').written(row['estimate'])}."
            )
