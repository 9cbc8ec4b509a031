"""How the alphas moved: a snapshot an epoch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nasp.supernet.supernet import Supernet


class AlphaHistory:
    """The alphas at the start and after each epoch."""

    def __init__(self, supernet: Supernet) -> None:
        self.supernet = supernet
        self.snapshots: list[dict[str, Tensor]] = []
        self.add()

    def add(self) -> None:
        """Keep the alphas as they are now."""
        self.snapshots.append(
            {name: a.detach().clone() for name, a in self.supernet.alphas.items()}
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return table -> ``[epochs + 1, edges, candidates]``."""
        return {
            name: torch.stack([snapshot[name] for snapshot in self.snapshots])
            for name in self.supernet.alphas
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the snapshots."""
        return {"snapshots": self.snapshots}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.snapshots = list(state["snapshots"])
