"""What a space holds: its candidate operations, and random architectures."""

from __future__ import annotations

import torch

from nasp.architecture import Architecture
from nasp.spaces.space import NetworkConfig, Space
from nasp.supernet import Supernet

_SMALL = NetworkConfig(channels=4, cells=3)


def random_architecture(space: Space, seed: int) -> Architecture:
    """Return a uniformly random architecture of a space."""
    supernet = Supernet(space.supernet(_SMALL), space.name)
    return supernet.architecture(supernet.random_path(torch.Generator().manual_seed(seed)))


def candidates_of(space: Space) -> dict[str, list[str]]:
    """Return the candidate operations of a space: table -> names, in the order of the alphas."""
    supernet = Supernet(space.supernet(_SMALL), space.name)
    return {name: list(table.candidates) for name, table in supernet.tables.items()}
