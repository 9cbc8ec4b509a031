"""A table on standard output."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

FILE_WIDTH = 160
"""Characters; a file has no edge at which figures must be cut."""


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    title: str | None = None,
    words: int = 1,
) -> None:
    """Print a table.

    Args:
        columns: their names.
        rows: a cell a column.
        title: what stands above it.
        words: how many columns, from the left, hold words, which may be folded; all others hold
            figures.
    """
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, column in enumerate(columns):
        is_figure = place >= words
        table.add_column(
            column,
            justify="right" if is_figure else "left",
            no_wrap=is_figure,
            overflow="ellipsis" if is_figure else "fold",
        )
    for row in rows:
        table.add_row(*map(str, row))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    console.print(table)


def number(value: float | None, form: str) -> str:
    """Return a number in a form such as ``.2f``; nothing where there is none."""
    return "" if value is None else f"{value:{form}}"
