"""Class-balanced, seeded splits of a labelled set."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from nasp.domains.images.image_set import ImageSet
from nasp.errors import UsageError


def split(
    labels: Tensor, parts: Sequence[float] | Sequence[int], seed: int = 0
) -> tuple[Tensor, ...]:
    """Draw disjoint parts in which each class has the share that it has in the whole.

    Args:
        labels: int64 `[N]`, at least 0.
        parts: fractions (floats that sum to 1: every index lands in one part), or sizes
            (ints that sum to N at most).
        seed: the same seed and labels give the same parts, on every machine.

    Returns:
        One sorted int64 index tensor a part.

    Raises:
        UsageError: a part is not positive, fractions do not sum to 1, or sizes exceed N.
    """
    sizes = _sizes(parts, len(labels))
    generator = torch.Generator().manual_seed(seed)
    members = [torch.nonzero(labels == label).flatten() for label in torch.unique(labels).tolist()]
    members = [m[torch.randperm(len(m), generator=generator)] for m in members]
    used = [0] * len(members)
    result = []
    for size in sizes:
        left = [len(m) - u for m, u in zip(members, used, strict=True)]
        order = torch.randperm(len(members), generator=generator).tolist()
        counts = _apportion(size, left, order)
        chosen = [m[u : u + c] for m, u, c in zip(members, used, counts, strict=True)]
        used = [u + c for u, c in zip(used, counts, strict=True)]
        result.append(torch.cat(chosen).sort().values)
    return tuple(result)


def halves(image_set: ImageSet, seed: int = 0, subset: int | None = None) -> tuple[Tensor, Tensor]:
    """Split the training part in two: the half for the weights, the half for the alphas.

    Args:
        image_set: its test part is not touched.
        seed: of the split.
        subset: images in each half; default: all of them, half and half.

    Returns:
        Indices into `image_set.train`: `(weights, alphas)`, each sorted int64.

    Raises:
        UsageError: `subset` is not positive, or the training part has fewer than twice as many.
    """
    parts: Sequence[float] | Sequence[int] = [0.5, 0.5] if subset is None else [subset, subset]
    weights, alphas = split(image_set.train.labels, parts, seed)
    return weights, alphas


def hold_out_fifth(labels: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Hold out a class-balanced fifth as test part, of a set that comes without one.

    It does not follow the seed of a run: what one run tests on, no other may train on.

    Returns:
        Indices `(kept, test)`, each sorted int64.
    """
    kept, test = split(labels, [0.8, 0.2], seed)
    return kept, test


def hold_out_tenth(labels: Tensor, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Hold out a tenth of the training part to choose by: an image a class, but no more than 1/4.

    Returns:
        Indices `(kept, held out)`, each sorted int64.

    Raises:
        UsageError: there is but one image.
    """
    count = len(labels)
    held = min(max(round(count / 10), len(torch.unique(labels))), max(1, count // 4))
    kept, held_out = split(labels, [count - held, held], seed)
    return kept, held_out


def _sizes(parts: Sequence[float] | Sequence[int], total: int) -> list[int]:
    if not parts or any(not part > 0 for part in parts):
        raise UsageError(
            f"Cannot split {total} images into parts {list(parts)}: give positive ones."
        )
    if all(isinstance(part, int) for part in parts):
        sizes = [int(part) for part in parts]
        if sum(sizes) > total:
            asked = " + ".join(str(size) for size in sizes)
            raise UsageError(f"Cannot take {asked} images out of {total}: ask for fewer.")
        return sizes
    if not math.isclose(sum(parts), 1.0, abs_tol=1e-6):
        raise UsageError(f"The fractions {list(parts)} sum to {sum(parts):g}: make them sum to 1.")
    scale = 1_000_000
    return _apportion(total, [round(part * scale) for part in parts], list(range(len(parts))))


def _apportion(seats: int, votes: list[int], ties: list[int]) -> list[int]:
    """Share `seats` in proportion to `votes` by largest remainder; `ties` orders equal remainders.

    In whole numbers, hence exact. No share exceeds its votes as long as `seats <= sum(votes)`.
    """
    total = sum(votes) or 1  # without any vote there is no seat either
    counts = [seats * vote // total for vote in votes]
    by_remainder = sorted(ties, key=lambda i: -(seats * votes[i] % total))
    for i in by_remainder[: seats - sum(counts)]:
        counts[i] += 1
    return counts
