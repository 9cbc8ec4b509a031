"""A table of figures on standard output."""

from __future__ import annotations

from collections.abc import Sequence

TEXT = ("series", "row", "contender")
"""Columns of words, which stand on the left; all others are figures."""


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; in a file it is as wide as it needs to be."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=0)
    for column in columns:
        table.add_column(column, justify="left" if column in TEXT else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = 160  # a file has no edge at which figures must be cut
    console.print(table)
