"""The BatchNorms at the ends of chains, never run: what follows from the moments before them.

The small arithmetic that is left waits until all edges are through, and is done for all at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

Place = tuple[int, int]
"""The edge, as numbered in `Supernet.edges`, and the candidate."""
Found = tuple[list[Place], Tensor]
"""Inner products ``[places]``, and where each belongs."""
Note = tuple[nn.BatchNorm2d, Tensor, Tensor]
"""A BatchNorm, and a batch's mean and variance ``[C]`` that it is to take note of."""


class Moments(NamedTuple):
    """Sums over the N values of each channel, of M tensors.

    Attributes:
        values: N.
        sum: ``[M, C]``.
        squares: sums of squares, ``[M, C]``; or of all products of two channels, ``[M, C, C]``.
    """

    values: int
    sum: Tensor
    squares: Tensor


class End(NamedTuple):
    """The ends of M alike chains: BatchNorms, behind 1×1 convolutions where `weight` is there.

    Attributes:
        places: where the inner products belong.
        norms: the BatchNorms.
        moments: of their inputs z, or of the inputs u of the 1×1 convolutions before them.
        overlap: <g, z> by channel, ``[M, C]``; with `weight` g'u, ``[M, C, C of u]``.
        gradient_sum: sums of g by channel, ``[M, C]``.
        weight: the 1×1 convolutions', ``[M, C, C of u]``.
    """

    places: Sequence[Place]
    norms: Sequence[nn.BatchNorm2d]
    moments: Moments
    overlap: Tensor
    gradient_sum: Tensor
    weight: Tensor | None


@dataclass
class Ends:
    """The ends of a pass that wait for each other."""

    waiting: dict[tuple[object, ...], list[End]] = field(default_factory=lambda: defaultdict(list))

    def add(self, end: End) -> None:
        """Let an end wait for others alike."""
        norm = end.norms[0]
        kind = (end.moments.values, end.overlap.shape[1:], norm.eps, norm.affine)
        self.waiting[kind].append(end)

    def settle(self) -> list[Found]:
        """Return all inner products; let the BatchNorms take note."""
        found: list[Found] = []
        notes: list[Note] = []
        for ends in self.waiting.values():
            places = [place for end in ends for place in end.places]
            found.append((places, _products(ends, notes)))
        take_note(notes)
        return found


def normalised(norms: Sequence[nn.BatchNorm2d], x: Tensor) -> Tensor:
    """Return what alike BatchNorms, side by side, make of ``[B, M·C, H, W]``; they take note."""
    mean, variance = x.new_zeros(2, x.shape[1], dtype=_wide(x.dtype)).unbind()
    scale = shift = None
    if norms[0].affine:
        scale = torch.cat([norm.weight for norm in norms])
        shift = torch.cat([norm.bias for norm in norms])
    # With a momentum of 1 the running statistics are the batch's own.
    settings = True, 1.0, norms[0].eps
    y = nn.functional.batch_norm(x, mean, variance, scale, shift, *settings)
    each = zip(norms, mean.chunk(len(norms)), variance.chunk(len(norms)), strict=True)
    take_note([note for note in each if note[0].running_mean is not None])
    return y


def take_note(notes: Iterable[Note]) -> None:
    """Move running statistics; one that is used several times, once after the other."""
    rounds: dict[tuple[float, int], list[Note]] = {}
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


def _products(ends: Sequence[End], notes: list[Note]) -> Tensor:
    overlap = torch.cat([end.overlap for end in ends])
    count = ends[0].moments.values
    total = torch.cat([end.moments.sum for end in ends])
    squares = torch.cat([end.moments.squares for end in ends])
    weights = [end.weight for end in ends if end.weight is not None]
    if weights:
        # The moments of z = W u follow from those of u.
        weight = torch.cat(weights).to(overlap.dtype)
        total = (weight @ total[:, :, None])[:, :, 0]
        squares = ((weight @ squares) * weight).sum(dim=2)
        overlap = (weight * overlap).sum(dim=2)
    norms = [norm for end in ends for norm in end.norms]
    scale, shift = _affine(norms, Moments(count, total, squares), notes)
    gradient_sum = torch.cat([end.gradient_sum for end in ends])
    return (scale * overlap + shift * gradient_sum).sum(dim=1)


def _affine(
    norms: Sequence[nn.BatchNorm2d], moments: Moments, notes: list[Note]
) -> tuple[Tensor, Tensor]:
    """Return by what scale and shift ``[M, C]`` BatchNorms normalise such batches."""
    first, count = norms[0], moments.values
    if count == 1:
        raise ValueError("BatchNorm needs more than one value a channel while training.")
    mean = moments.sum / count
    variance = (moments.squares / count - mean * mean).clamp_min(0.0)
    unbiased = variance * (count / (count - 1))
    each = zip(norms, mean.unbind(), unbiased.unbind(), strict=True)
    notes += [note for note in each if note[0].running_mean is not None]
    scale = torch.rsqrt(variance + first.eps)
    if first.affine:
        scale = scale * torch.stack([norm.get_parameter("weight") for norm in norms])
    shift = -mean * scale
    if first.affine:
        shift = shift + torch.stack([norm.get_parameter("bias") for norm in norms])
    return scale, shift


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
