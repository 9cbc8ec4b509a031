"""Paths one change apart: another candidate on one edge, or other edges at one node."""

from __future__ import annotations

import torch

from nasp.supernet.path import Path
from nasp.supernet.supernet import Supernet


def units(supernet: Supernet) -> list[int]:
    """Return what changes together: for each edge a number that its node group's edges share."""
    alike = list(range(len(supernet.edges)))
    for group in supernet.groups:
        for edge in group.edges:
            alike[edge] = group.edges[0]
    return alike


def changed_units(supernet: Supernet, one: Path, other: Path) -> list[int]:
    """Return the `units` in which two paths differ, in order."""
    pairs = zip(units(supernet), one, other, strict=True)
    return sorted({unit for unit, k, j in pairs if k != j})


def with_unit(supernet: Supernet, path: Path, other: Path, unit: int) -> Path:
    """Return `path` with the edges of one of its `units` as they are in `other`."""
    edges = zip(units(supernet), path, other, strict=True)
    return tuple(j if number == unit else k for number, k, j in edges)


def random_neighbour(supernet: Supernet, path: Path, generator: torch.Generator) -> Path:
    """Return `path` with one of its `units` as it is in a random path.

    It is uniform among those that differ; where none does, `path` itself is returned.

    Args:
        supernet: whose paths they are.
        path: where the neighbour is.
        generator: draws.
    """
    other = supernet.random_path(generator)
    changed = changed_units(supernet, path, other)
    if not changed:
        return path
    drawn = int(torch.randint(len(changed), (), generator=generator))
    return with_unit(supernet, path, other, changed[drawn])
