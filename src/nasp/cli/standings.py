"""What a network costs, beside random ones, as a table."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from nasp.complexity.quantity import find_quantity


def show_standings(rows: list[dict[str, Any]], example: str) -> None:
    """Print each cost of a network, the mean of random ones, and how many are cheaper.

    Args:
        rows: `nasp.complexity.standing.Standing` as dictionaries.
        example: what goes through the network, such as ``"image"``.
    """
    table = Table(title=f"One {example} through it", title_justify="left")
    table.add_column("cost")
    for name in ("this network", f"mean of {rows[0]['random']} random", "cheaper than it"):
        table.add_column(name, justify="right")
    for row in rows:
        quantity = find_quantity(row["cost"])
        spread = f" ± {quantity.written(row['spread'])}" if row["spread"] else ""
        table.add_row(
            quantity.label,
            quantity.written(row["value"]) + spread,
            quantity.written(row["mean"]),
            f"{row['cheaper']:.0%}",
        )
    console = Console(highlight=False)
    console.print(table)
    for row in rows:
        if row["cost"] == "latency" and row["estimate"] != row["value"]:
            console.print(
                "Random ones are timed by the sum of their candidates; so timed, this network"
                f" takes {find_quantity('latency').written(row['estimate'])}."
            )
