"""A table on standard output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import rich.table
from rich.box import SIMPLE_HEAD
from rich.console import Console

from nasp.report.tables import Table, table_of

FILE_WIDTH = 160
"""Characters; a file has no edge at which figures must be cut."""


def print_table(
    rows: Iterable[Mapping[str, Any]],
    columns: Mapping[str, str],
    title: str = "",
    words: int = 1,
) -> None:
    """Print rows of values; see `nasp.report.tables.table_of`."""
    print_cells(table_of(rows, columns, title, words))


def print_cells(content: Table) -> None:
    """Print a table; words may be folded, figures may not."""
    table = rich.table.Table(
        title=content.title or None,
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for place, heading in enumerate(content.headings):
        is_figure = place >= content.words
        table.add_column(
            heading,
            justify="right" if is_figure else "left",
            no_wrap=is_figure,
            overflow="ellipsis" if is_figure else "fold",
        )
    for row in content.rows:
        table.add_row(*row)
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    console.print(table)
