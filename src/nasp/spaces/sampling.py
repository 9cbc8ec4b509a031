"""What a space holds: its candidate operations, and random architectures."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch

from nasp.errors import UsageError
from nasp.spaces.space import Space
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice
from nasp.supernet.supernet import Supernet


def small_supernet(space: Space) -> Supernet:
    """Return a small supernet of a space, for what does not depend on its size."""
    return Supernet(space.supernet(space.small), space.name)


def random_architecture(space: Space, seed: int) -> Architecture:
    """Return a uniformly random architecture of a space."""
    supernet = small_supernet(space)
    return supernet.architecture(supernet.random_path(torch.Generator().manual_seed(seed)))


def candidates_of(space: Space) -> dict[str, list[str]]:
    """Return the candidate operations of a space: table -> names, in the order of the alphas."""
    supernet = small_supernet(space)
    return {name: list(table.candidates) for name, table in supernet.tables.items()}


def has_parameters(space: Space) -> bool:
    """Tell whether any candidate operation of a space has parameters of its own."""
    modules = space.supernet(space.small).modules()
    return any(True for m in modules if isinstance(m, Choice) for _ in m.parameters())


def all_architectures(space: Space) -> Iterator[Architecture]:
    """Return every architecture of a space, the last edge's candidates changing fastest.

    Raises:
        UsageError: not every edge survives in this space, so that candidates on edges alone do
            not name an architecture.
    """
    supernet = small_supernet(space)
    if supernet.groups:
        raise UsageError(
            f"The architectures of space '{space.name}' cannot be listed, since its nodes keep"
            " only some edges: take nasbench201-3."
        )
    candidates = [table.candidates for table in supernet.tables.values() for _ in table.edges]
    return (
        Architecture(dict(zip(supernet.edges, names, strict=True)), space.name)
        for names in product(*candidates)
    )
