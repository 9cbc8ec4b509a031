"""A table on standard output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import rich.table
from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console

from nasp.report.tables import Table, table_of

FILE_WIDTH = 160
"""Characters; a file has no edge at which a table must end."""

FOLDED = 12
"""Characters to which words may be folded beside figures."""


def print_table(
    rows: Iterable[Mapping[str, Any]],
    columns: Mapping[str, str],
    title: str = "",
    words: int = 1,
) -> None:
    """Print rows of values; see `nasp.report.tables.table_of`."""
    print_cells(table_of(rows, columns, title, words))


def print_cells(content: Table) -> None:
    """Print a table; one that is too wide goes on below, with its first columns again.

    Words may be folded, figures never are. Where there are no words, the first figure stands for
    them.
    """
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    cells = zip(*content.rows, strict=True) if content.rows else ([] for _ in content.headings)
    columns = [
        _Column(heading, list(column), place >= content.words)
        for place, (heading, column) in enumerate(zip(content.headings, cells, strict=True))
    ]
    first = max(content.words, 1)
    for place, group in enumerate(_groups(columns, first, console.width)):
        console.print(_table(group, console.width, "" if place else content.title))


class _Column(NamedTuple):
    heading: str
    cells: list[str]
    is_figure: bool

    @property
    def natural(self) -> int:
        """Characters that it takes in one line."""
        return max(map(cell_len, [self.heading, *self.cells]))

    @property
    def least(self) -> int:
        """Characters that it needs: headings are folded between words, and words anywhere."""
        unbroken = max(map(cell_len, [*self.heading.split(), *self.cells, ""]))
        return unbroken if self.is_figure else min(unbroken, FOLDED)


def _groups(columns: list[_Column], first: int, width: int) -> list[list[_Column]]:
    """Return the columns as tables that fit, each beginning with the first so many columns."""
    groups = [columns[:first]]
    for column in columns[first:]:
        if len(groups[-1]) > first and _width(c.least for c in [*groups[-1], column]) > width:
            groups.append(columns[:first])
        groups[-1].append(column)
    return groups


def _table(columns: list[_Column], width: int, title: str) -> rich.table.Table:
    table = rich.table.Table(
        title=title or None, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    is_tight = _width(column.natural for column in columns) > width
    for column in columns:
        own = column.least if is_tight else column.natural
        table.add_column(
            column.heading,
            justify="right" if column.is_figure else "left",
            width=own if column.is_figure else None,
            overflow="fold",
        )
    for row in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*row)
    return table


def _width(columns: Iterable[int]) -> int:
    """Return the characters of a line: between columns and beside them there is space."""
    return sum(column + 2 for column in columns) + 1
