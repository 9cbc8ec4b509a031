"""The constraint sets C1 and C2 and their proximal operators (NASP, AAAI 2020, Sec. 3.2).

Pure functions of tensors. Alphas are ``[edges, candidates]``. Every tie is broken uniformly at
random by the generator that is handed in, never by position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nasp.errors import UsageError


@dataclass(frozen=True)
class NodeGroup:
    """Edges that end in one node, of which the `keep` strongest survive."""

    edges: tuple[int, ...]
    keep: int

    def __post_init__(self) -> None:
        if not 1 <= self.keep <= len(self.edges):
            raise UsageError(
                f"A node group keeps {self.keep} of {len(self.edges)} edges:"
                f" keep must be between 1 and {len(self.edges)}."
            )


def prox_c2(alphas: Tensor) -> Tensor:
    """Project onto C2 = {a : 0 <= a_k <= 1}, element by element; any shape."""
    return alphas.clamp(0.0, 1.0)


def prox_c1(
    alphas: Tensor,
    groups: Sequence[NodeGroup] = (),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Project onto C1 = {a : ||a||_0 = 1}: keep each edge's largest entry, zero the others.

    With node groups, edges that are not among the `keep` strongest of their node become zero.

    Args:
        alphas: ``[edges, candidates]``.
        groups: node groups over the rows of `alphas`; default none.
        generator: breaks ties; default torch's global one.

    Returns:
        ``[edges, candidates]``: the kept entries with their values, zero elsewhere.
    """
    return torch.where(strongest_path(alphas, groups, generator), alphas, 0.0)


def prox_c(
    alphas: Tensor,
    groups: Sequence[NodeGroup] = (),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Project onto C = C1 ∩ C2, in closed form: prox_C2(prox_C1(a)) (NASP, Prop. 2)."""
    return prox_c2(prox_c1(alphas, groups, generator))


def strongest_path(
    alphas: Tensor,
    groups: Sequence[NodeGroup] = (),
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return where prox_C1 keeps an entry: a boolean tensor ``[edges, candidates]``."""
    chosen = largest_entries(alphas, generator)
    surviving = surviving_edges(alphas.amax(dim=1), groups, generator)
    return chosen & surviving[:, None]


def largest_entries(alphas: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Return each row's largest entry as a boolean ``[edges, candidates]``, one True a row."""
    noise = _noise(alphas, generator) + 1.0
    tied = alphas == alphas.amax(dim=1, keepdim=True)
    winner = torch.where(tied, noise, 0.0).argmax(dim=1, keepdim=True)
    return torch.zeros_like(tied).scatter_(1, winner, True)


def surviving_edges(
    strengths: Tensor,
    groups: Sequence[NodeGroup],
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return which edges their node keeps.

    Args:
        strengths: ``[edges]``, an edge's largest entry.
        groups: disjoint node groups; an edge outside every group survives.
        generator: breaks ties; default torch's global one.

    Returns:
        Boolean ``[edges]``.
    """
    noise = _noise(strengths, generator)
    surviving = torch.ones_like(strengths, dtype=torch.bool)
    for group in groups:
        edges = torch.tensor(group.edges, device=strengths.device)
        shuffled = edges[noise[edges].argsort()]
        ranked = shuffled[strengths[shuffled].argsort(descending=True, stable=True)]
        surviving[ranked[group.keep :]] = False
    return surviving


def _noise(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform numbers in [0, 1), drawn where the generator lives, so a seed means one path."""
    device = generator.device if generator is not None else like.device
    return torch.rand(like.shape, generator=generator, device=device, dtype=torch.float64).to(
        like.device
    )
