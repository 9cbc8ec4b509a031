"""Architectures one change away from another: where a selection looks that came by too few."""

from __future__ import annotations

from nasp.supernet.architecture import Architecture
from nasp.supernet.path import Path
from nasp.supernet.supernet import Supernet


def neighbours(supernet: Supernet, architecture: Architecture) -> list[Architecture]:
    """Return all that differ by the candidate of one edge, which is on in both.

    Args:
        supernet: its alphas say which change costs least of their sum: those come first.
        architecture: of this supernet.
    """
    path = supernet.path(architecture)
    rows = [row.tolist() for alphas in supernet.alphas.values() for row in alphas]
    surviving = [table.surviving for table in supernet.tables.values() for _ in table.edges]
    changes: list[tuple[float, Path]] = []
    for edge, (held, row, others) in enumerate(zip(path, rows, surviving, strict=True)):
        if held is not None:
            near = [(k, (*path[:edge], k, *path[edge + 1 :])) for k in others if k != held]
            changes += [(row[held] - row[k], other) for k, other in near]
    changes.sort(key=lambda change: change[0])
    return [supernet.architecture(other) for _, other in changes]
