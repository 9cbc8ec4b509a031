"""Paths one change apart: another candidate on one edge, or other edges at one node."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nasp.supernet.supernet import Alphas, Supernet


def units(supernet: Supernet) -> Tensor:
    """Return what changes together: a number ``[edges]`` that the edges of a node group share."""
    alike = torch.arange(len(supernet.edges), device=next(iter(supernet.alphas.values())).device)
    for group in supernet.groups:
        alike[list(group.edges)] = group.edges[0]
    return alike


def with_unit(
    supernet: Supernet, path: Mapping[str, Tensor], other: Mapping[str, Tensor], unit: Tensor
) -> Alphas:
    """Return `path` with the edges of one of its `units` as they are in `other`."""
    lengths = [len(table.edges) for table in supernet.tables.values()]
    rows = torch.split(units(supernet) == unit, lengths)
    return {
        name: torch.where(row[:, None], other[name], path[name])
        for name, row in zip(supernet.tables, rows, strict=True)
    }


def random_neighbour(
    supernet: Supernet, path: Mapping[str, Tensor], generator: torch.Generator
) -> Alphas:
    """Return `path` with one of its `units` as it is in a random path.

    It is uniform among those that differ; where none does, `path` itself is returned.

    Args:
        supernet: whose paths they are.
        path: a discrete point.
        generator: draws, on the CPU, so that a seed means one path on any device.
    """
    other = supernet.random_path(generator)
    differs = torch.cat([(other[name] != path[name]).any(dim=1) for name in supernet.tables])
    changed: Tensor = torch.unique(units(supernet)[differs])
    if not len(changed):
        return dict(path)
    drawn = int(torch.randint(len(changed), (), generator=generator))
    return with_unit(supernet, path, other, changed[drawn])
