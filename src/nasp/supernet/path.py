"""The discrete point inside a search: which candidate stands on each edge, by number."""

from __future__ import annotations

Path = tuple[int | None, ...]
"""A candidate's number for each edge of `Supernet.edges`; None: a node group switched it off."""


def changed_edges(one: Path, other: Path) -> list[int]:
    """Return the numbers of the edges on which two paths differ."""
    return [edge for edge, (k, j) in enumerate(zip(one, other, strict=True)) if k != j]
