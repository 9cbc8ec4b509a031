"""How the alphas, and their average, moved: a snapshot an epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from nasp.runs.files import write_text_atomic
from nasp.runs.folder import RunFolder
from nasp.strategies.average import SHOWN, Average
from nasp.supernet.supernet import Supernet

ALPHAS = "alphas.safetensors"
"""The file of a finished search that has them."""


def keep_choices(run: RunFolder, supernet: Supernet) -> None:
    """Write which edges and candidates the rows and columns of each table stand for."""
    tables = {
        name: {"edges": table.edges, "candidates": table.candidates}
        for name, table in supernet.tables.items()
    }
    write_text_atomic(run.choices_path, json.dumps(tables, indent=2) + "\n")


def averaged(tensors: Mapping[str, Tensor]) -> dict[str, tuple[str, Tensor]]:
    """Return table -> what the average of a history says, in words, and its tensor.

    Args:
        tensors: of `AlphaHistory`. It has none where the strategy takes no average.
    """
    return {
        name.removeprefix(f"{shows} of "): (words, tensor)
        for shows, words in SHOWN.items()
        for name, tensor in tensors.items()
        if name.startswith(f"{shows} of ")
    }


class AlphaHistory:
    """The alphas at the start and after each epoch.

    Args:
        supernet: has them.
        average: the strategy's, kept beside them; None: it has none.
    """

    def __init__(self, supernet: Supernet, average: Average | None = None) -> None:
        self.supernet = supernet
        self.average = average
        self.snapshots: list[dict[str, Tensor]] = []
        self.add()

    def add(self) -> None:
        """Keep the alphas as they are now."""
        snapshot = {name: a.detach().clone() for name, a in self.supernet.alphas.items()}
        if self.average is not None:
            for name, shown in self.average.shown().items():
                snapshot[f"{self.average.shows} of {name}"] = shown.to(snapshot[name].dtype)
        self.snapshots.append(snapshot)

    def tensors(self) -> dict[str, Tensor]:
        """Return table -> ``[epochs + 1, edges, candidates]``; see `averaged` for the average's."""
        return {
            name: torch.stack([snapshot[name] for snapshot in self.snapshots])
            for name in self.snapshots[0]
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the snapshots."""
        return {"snapshots": self.snapshots}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.snapshots = list(state["snapshots"])
