"""Architectures one change away from another: where a selection looks that came by too few."""

from __future__ import annotations

from dataclasses import replace

import torch

from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Supernet


@torch.no_grad()
def neighbours(supernet: Supernet, architecture: Architecture) -> list[Architecture]:
    """Return all that differ by the candidate of one edge, which is on in both.

    Args:
        supernet: its alphas say which change costs least of their sum: those come first.
        architecture: of this supernet.
    """
    path = supernet.path(architecture)
    changes: list[tuple[float, str, str]] = []
    for name, table in supernet.tables.items():
        alphas = supernet.alphas[name]
        losses = (alphas * path[name]).sum(dim=1, keepdim=True) - alphas
        for edge, row in zip(table.edges, losses.tolist(), strict=True):
            held = architecture[edge]
            if held is None:
                continue
            others = [k for k in table.surviving if table.candidates[k] != held]
            changes += [(row[k], edge, table.candidates[k]) for k in others]
    changes.sort(key=lambda change: change[0])
    return [
        replace(architecture, edges={**architecture.edges, edge: candidate})
        for _, edge, candidate in changes
    ]
