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
        written = find_quantity(row["cost"]).written
        spread = f" ± {written(row['spread'])}" if row["spread"] else ""
        label = find_quantity(row["cost"]).label
        mean = written(row["mean"])
        cells.append((label, written(row["value"]) + spread, mean, f"{row['cheaper']:.0%}"))
    random = f"mean of {rows[0]['random']} random"
    print_table(
        ("cost", "this network", random, "cheaper than it"), cells, f"One {example} through it"
    )
    for row in rows:
        if row["cost"] == "latency" and row["estimate"] != row["value"]:
            typer.echo(
                "Random ones are timed by the sum of their candidates; so timed, this network"
                f" takes {find_quantity('latency').written(row['estimate'])}."
            )
