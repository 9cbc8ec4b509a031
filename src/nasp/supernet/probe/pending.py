"""The small arithmetic of a probe's inner products, kept until all edges can do it together.

For a candidate that ends in a BatchNorm, z̃ = s·(z − μ) + b with s = γ/√(σ² + ε):
<g, z̃> = sum over channels of s·(<g, z> − μ·sum(g)) + b·sum(g). For z = W u, μ = W·mean(u),
σ² = diag(W·cov(u)·W'), and <g, z> = the rows' sums of W * (g'u).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Place(NamedTuple):
    """Where an inner product belongs: which table of alphas, which edge, which candidate."""

    table: int
    edge: int
    candidate: int


class Moments(NamedTuple):
    """Sums over the N values of each channel, of one tensor or of M of them.

    Attributes:
        values: N.
        sum: ``[C]`` or ``[M, C]``.
        squares: sums of squares, of the shape of `sum`; or of all products of two channels,
            ``[C, C]`` or ``[M, C, C]``.
    """

    values: int
    sum: Tensor
    squares: Tensor

    @staticmethod
    def stacked(several: Sequence[Moments]) -> Moments:
        """Return the moments of M tensors as one."""
        sums, squares = [m.sum for m in several], [m.squares for m in several]
        return Moments(several[0].values, torch.stack(sums), torch.stack(squares))


class End(NamedTuple):
    """A candidate's end: a BatchNorm, behind a 1×1 convolution where `weight` is there.

    Attributes:
        place: where the inner product belongs.
        norm: the BatchNorm.
        moments: of its input z, or of the input u of the 1×1 convolution before it.
        overlap: <g, z> by channel, ``[C]``; with `weight` g'u, ``[C, C of u]``.
        gradient_sum: sums of g by channel, ``[C]``.
        is_noted: whether the BatchNorm takes note of the batch.
        weight: the 1×1 convolution's, ``[C, C of u]``.
    """

    place: Place
    norm: nn.BatchNorm2d
    moments: Moments
    overlap: Tensor
    gradient_sum: Tensor
    is_noted: bool
    weight: Tensor | None = None


@dataclass
class Pending:
    """Inner products of a pass, and what BatchNorms are to take note of."""

    values: dict[Place, Tensor] = field(default_factory=dict)
    waiting: dict[tuple[object, ...], list[End]] = field(default_factory=lambda: defaultdict(list))
    notes: list[tuple[nn.BatchNorm2d, Tensor, Tensor]] = field(default_factory=list)

    def add(self, place: Place, value: Tensor) -> None:
        """Add an inner product to what its place has."""
        self.values[place] = self.values[place] + value if place in self.values else value

    def add_end(self, end: End) -> None:
        """Add a candidate by sums over what comes before its BatchNorm."""
        kind = (end.moments.values, end.overlap.shape, end.norm.eps, end.norm.affine)
        self.waiting[kind].append(end)

    def settle(self) -> dict[Place, Tensor]:
        """Return all inner products; let the BatchNorms take note; begin anew."""
        for ends in self.waiting.values():
            for end, value in zip(ends, self._ends(ends).unbind(), strict=True):
                self.add(end.place, value)
        _take_note(self.notes)
        values, self.values = self.values, {}
        self.waiting.clear()
        self.notes.clear()
        return values

    def _ends(self, ends: list[End]) -> Tensor:
        overlap = torch.stack([end.overlap for end in ends])
        moments = Moments.stacked([end.moments for end in ends])
        weights = [end.weight for end in ends if end.weight is not None]
        if weights:
            weight = torch.stack(weights)
            moments = _normalised(moments, weight)
            overlap = (weight * overlap).sum(dim=2)
        gradient_sum = torch.stack([end.gradient_sum for end in ends])
        norms, noted = [end.norm for end in ends], [end.is_noted for end in ends]
        scale, shift = self._affine(norms, moments, noted)
        return (scale * overlap + shift * gradient_sum).sum(dim=1)

    def _affine(
        self, norms: Sequence[nn.BatchNorm2d], moments: Moments, noted: Sequence[bool]
    ) -> tuple[Tensor, Tensor]:
        """Return by what scale and shift ``[M, C]`` BatchNorms normalise such batches."""
        first, count = norms[0], moments.values
        if count == 1:
            raise ValueError("BatchNorm needs more than one value a channel while training.")
        mean = moments.sum / count
        variance = (moments.squares / count - mean * mean).clamp_min(0.0)
        unbiased = variance * (count / (count - 1))
        for index, (norm, is_noted) in enumerate(zip(norms, noted, strict=True)):
            if is_noted and norm.running_mean is not None:
                self.notes.append((norm, mean[index], unbiased[index]))
        scale = torch.rsqrt(variance + first.eps)
        if first.affine:
            scale = scale * torch.stack([norm.get_parameter("weight") for norm in norms])
        shift = -mean * scale
        if first.affine:
            shift = shift + torch.stack([norm.get_parameter("bias") for norm in norms])
        return scale, shift


def _normalised(moments: Moments, weight: Tensor) -> Moments:
    """Return the moments of z = W u from those of u.

    Args:
        moments: of u, with the products of its channels.
        weight: ``[M, C of z, C of u]``.
    """
    total = (weight @ moments.sum[:, :, None])[:, :, 0]
    return Moments(moments.values, total, ((weight @ moments.squares) * weight).sum(dim=2))


def _take_note(notes: Iterable[tuple[nn.BatchNorm2d, Tensor, Tensor]]) -> None:
    """Move running statistics; one that is used several times, once after the other."""
    rounds: dict[tuple[float, int], list[tuple[nn.BatchNorm2d, Tensor, Tensor]]] = {}
    uses: dict[int, int] = defaultdict(int)
    for note in notes:
        norm = note[0]
        rounds.setdefault((norm.momentum or 0.0, uses[id(norm)]), []).append(note)
        uses[id(norm)] += 1
    for (momentum, _), together in rounds.items():
        for index, name in ((1, "running_mean"), (2, "running_var")):
            kept = [norm.get_buffer(name) for norm, *_ in together]
            torch._foreach_lerp_(kept, [note[index] for note in together], momentum)  # type: ignore[misc]
        counts = [norm.get_buffer("num_batches_tracked") for norm, *_ in together]
        torch._foreach_add_(counts, 1)
