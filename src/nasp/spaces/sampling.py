"""What a space holds: its candidate operations, and random architectures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product

import torch

from nasp.complexity import parameter_counts
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


def without_parameters(space: Space) -> frozenset[tuple[str, str]]:
    """Return the pairs of edge and candidate without parameters, as skip, none and pooling are."""
    supernet = small_supernet(space)
    counts = parameter_counts(supernet)
    return frozenset(
        (edge, candidate)
        for name, table in supernet.tables.items()
        for edge, row in zip(table.edges, counts[name], strict=True)
        for candidate, count in zip(table.candidates, row, strict=True)
        if count == 0
    )


def share_without_parameters(
    edges: Mapping[str, str | None], free: frozenset[tuple[str, str]]
) -> float:
    """Return which share of the edges that are on hold candidates without parameters.

    Args:
        edges: edge -> candidate.
        free: see `without_parameters`.
    """
    held = [(edge, candidate) for edge, candidate in edges.items() if candidate is not None]
    return sum(pair in free for pair in held) / len(held)


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
