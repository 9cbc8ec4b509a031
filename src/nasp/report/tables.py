"""A table as text: what each cell says of its row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from string import Formatter
from typing import Any, NamedTuple


class Table(NamedTuple):
    """Headings and cells, as people read them.

    Attributes:
        headings: of the columns.
        rows: a text for each heading.
        title: what stands above it; empty for nothing.
        words: how many columns, from the left, hold words; all others hold figures.
    """

    headings: list[str]
    rows: list[list[str]]
    title: str = ""
    words: int = 1


def table_of(
    rows: Iterable[Mapping[str, Any]],
    columns: Mapping[str, str],
    title: str = "",
    words: int = 1,
) -> Table:
    """Return rows of values as a table.

    Args:
        rows: of values by name.
        columns: heading -> what a cell says of its row, as ``"{seconds[median]:.3f}"``. After the
            colon may stand ``MB`` and ``G``, too; a value that is None or missing is left out.
        title: see `Table`.
        words: see `Table`.
    """
    written = _Cell()
    cells = [[written.vformat(form, (), row) for form in columns.values()] for row in rows]
    return Table(list(columns), cells, title, words)


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
