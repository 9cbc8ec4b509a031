"""The numbers that a mixture or a probe multiplies by, where the network is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor

from nasp.supernet.host import to_host


def in_tables(flat: Tensor, shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """Return the numbers of all tables, one after the other, as tables of these shapes."""
    parts = torch.split(flat, [prod(shape) for shape in shapes.values()])
    return {n: part.view(*shape) for (n, shape), part in zip(shapes.items(), parts, strict=True)}


def on_device(tables: Mapping[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Return tables on a device, with their graph; they go there in one copy."""
    flat = torch.cat([table.reshape(-1) for table in tables.values()])
    flat = flat.to(device, non_blocking=True)  # nobody waits: what is not pinned is copied at once
    return in_tables(flat, {name: table.shape for name, table in tables.items()})


class Leaves:
    """One leaf of the graph that holds the numbers of all tables.

    Args:
        tables: table -> ``[edges, candidates]``, on the CPU.
        device: where the network is.

    Attributes:
        anchors: the leaves of the graph, on the device, that a backward pass is to reach.
        tables: the same numbers, on the device, of which the network is to be run.
    """

    def __init__(self, tables: Mapping[str, Tensor], device: torch.device) -> None:
        with torch.no_grad():
            flat = torch.cat([table.reshape(-1) for table in tables.values()])
            flat = flat.to(device, non_blocking=True)
        self._flat = flat.requires_grad_()
        self._shapes = {name: table.shape for name, table in tables.items()}
        self.anchors = [self._flat]
        self.tables = self.split(self._flat)

    def gradients(self) -> dict[str, Tensor]:
        """Return the gradient by each table's numbers, on the CPU; zeros where none came.

        It is the sum over all backward passes since.
        """
        gradient = self._flat.grad
        return self.split(
            torch.zeros(self._flat.shape, dtype=self._flat.dtype)
            if gradient is None
            else to_host([gradient])[0]
        )

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """Return what belongs to each table, of a tensor of the anchor's shape."""
        return in_tables(flat, self._shapes)
