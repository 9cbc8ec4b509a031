"""A table on standard output."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from string import Formatter
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

FILE_WIDTH = 160
"""Characters; a file has no edge at which figures must be cut."""


def print_table(
    rows: Iterable[Mapping[str, Any]],
    columns: Mapping[str, str],
    title: str | None = None,
    words: int = 1,
) -> None:
    """Print a table.

    Args:
        rows: of values by name.
        columns: heading -> what a cell says of its row, as ``"{seconds[median]:.3f}"``. After the
            colon may stand ``MB`` and ``G``, too; a value that is None or missing is left out.
        title: what stands above it.
        words: how many columns, from the left, hold words, which may be folded; all others hold
            figures.
    """
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, heading in enumerate(columns):
        is_figure = place >= words
        table.add_column(
            heading,
            justify="right" if is_figure else "left",
            no_wrap=is_figure,
            overflow="ellipsis" if is_figure else "fold",
        )
    for row in rows:
        table.add_row(*(_Cell().vformat(form, (), row) for form in columns.values()))
    console = Console(highlight=False, markup=False)
    if not console.is_terminal:
        console.width = FILE_WIDTH
    console.print(table)


class _Cell(Formatter):
    """Writes a row's values; nothing for what there is none of."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> Any:
        try:
            return super().get_field(field_name, args, kwargs)
        except (KeyError, TypeError):
            return None, field_name

    def format_field(self, value: Any, format_spec: str) -> str:
        if value is None:
            return ""
        if format_spec in ("MB", "G"):
            return f"{value / 1e6:.0f}" if format_spec == "MB" else f"{value / 1e9:.3g}"
        return str(super().format_field(value, format_spec))
