"""What a batch can be: any tree of tensors, and what else a task understands."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from nasp.errors import UsageError
from nasp.training.task import Batch, Task

_CONSTANTS = (str, bytes, int, float, complex, type(None))


class Part(NamedTuple):
    """A part of a batch.

    Attributes:
        batch: the part.
        of_loss: its share of the batch's loss; of a loss that is a sum 1.
        share: of the batch's examples that it has: what its metrics count for.
    """

    batch: Batch
    of_loss: float
    share: float


def inputs_and_target(batch: Batch) -> tuple[list[Any], Any]:
    """Split a batch ``(input, ..., target)``.

    Raises:
        UsageError: the batch is a mapping, or no sequence of at least two.
    """
    if isinstance(batch, Mapping):
        raise UsageError(
            f"The batch is a mapping with keys {', '.join(map(str, batch))}: yield tuples"
            " (input, ..., target), or write a task that reads it."
        )
    if not isinstance(batch, tuple | list) or len(batch) < 2:
        size = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
        raise UsageError(
            f"The batch is a {type(batch).__name__}{size}: yield tuples (input, ..., target)."
        )
    return list(batch[:-1]), batch[-1]


def mapped(
    batch: Batch,
    change: Callable[[Any], Any],
    is_leaf: Callable[[Any], bool] = lambda _: False,
) -> Batch:
    """Return a batch of the same form with all that is no container changed.

    Containers are lists, tuples, mappings and dataclasses; not so a `PackedSequence`, whose
    tensors belong together.

    Args:
        batch: left as it is.
        change: from a leaf to what stands in its place.
        is_leaf: says which containers are to be changed as a whole.
    """
    if isinstance(batch, PackedSequence) or is_leaf(batch):
        return change(batch)
    if isinstance(batch, Mapping):
        items = {key: mapped(value, change, is_leaf) for key, value in batch.items()}
        if not isinstance(batch, MutableMapping):
            return items
        whole = copy.copy(batch)
        whole.update(items)
        return whole
    if is_dataclass(batch) and not isinstance(batch, type):
        whole = copy.copy(cast(Any, batch))
        for field in fields(batch):
            value = mapped(getattr(batch, field.name), change, is_leaf)
            object.__setattr__(whole, field.name, value)  # it may be frozen
        return whole
    if isinstance(batch, tuple | list):
        parts = [mapped(item, change, is_leaf) for item in batch]
        return batch._make(parts) if hasattr(batch, "_make") else type(batch)(parts)
    return change(batch)


def leaves(batch: Batch) -> list[Any]:
    """Return all of a batch that is no container."""
    found: list[Any] = []
    mapped(batch, found.append)
    return found


def moved(batch: Batch, device: torch.device) -> Batch:
    """Return a batch on a device: its tensors, and whatever else has a method ``to``."""

    def move(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return leaf.to(device, non_blocking=device.type == "cuda")
        if not _can_move(leaf):
            return leaf
        there = leaf.to(device)
        return leaf if there is None else there

    return mapped(batch, move, _can_move)


def fingerprint(batch: Batch) -> list[float]:
    """Return a number for each tensor of a batch, by which two batches can be told apart."""
    tensors = (leaf for leaf in leaves(batch) if isinstance(leaf, Tensor) and not leaf.is_complex())
    return [float(tensor.detach().cpu().double().nan_to_num().sum()) for tensor in tensors]


def batch_length(batch: Batch) -> int | None:
    """Return how many examples a batch has: the length of its tensors in dimension 0.

    None where they differ, as in detection, or where there is no tensor: what such a batch holds
    only its task knows.
    """
    lengths = _lengths(batch)
    return lengths.pop() if len(lengths) == 1 else None


def one_example(batch: Batch) -> Batch:
    """Return the first example of a batch, copied; the whole batch where it cannot be split."""
    length = batch_length(batch)
    if not length or any(map(_is_opaque, leaves(batch))):
        return batch
    first = _sliced(batch, length, slice(0, 1))
    return mapped(first, lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf)


def parts_of(batch: Batch, count: int, task: Task) -> list[Part]:
    """Return a batch in `count` parts, as the task splits it, where it says how."""
    split = getattr(task, "split", None)
    if count == 1 or not callable(split):
        return split_batch(batch, count)
    parts = [Part(each[0], each[1], each[-1]) for each in split(batch, count)]
    total = sum(part.share for part in parts)
    if not abs(total - 1) < 1e-3:
        raise UsageError(
            f"The shares that {type(task).__name__}.split gives a batch's parts add up to"
            f" {total:.4g}: they must add up to 1."
        )
    return parts


def split_batch(batch: Batch, parts: int) -> list[Part]:
    """Split the tensors of a batch along dimension 0, and lists of as many words or numbers.

    Returns:
        The parts and each one's share of the examples; fewer parts where there are fewer
        examples.

    Raises:
        UsageError: the batch is empty; or it is to be split and holds no tensor, tensors of
            different lengths, or what only its task knows.
    """
    length = batch_length(batch)
    if parts == 1 and length != 0:
        return [Part(batch, 1.0, 1.0)]
    if not length:
        raise UsageError(
            "The tensors of a batch must agree in dimension 0 to be split, and hold at least one"
            f" example, but their lengths are {sorted(_lengths(batch)) or 'none'}."
        )
    if opaque := next(filter(_is_opaque, leaves(batch)), None):
        raise UsageError(
            f"The batch holds a {type(opaque).__name__}, which accumulate={parts} cannot split:"
            " leave accumulate at 1, or give the task a method split(batch, parts)."
        )
    bounds = [length * index // parts for index in range(parts + 1)]
    return [
        Part(_sliced(batch, length, slice(start, end)), *2 * [(end - start) / length])
        for start, end in pairwise(bounds)
        if start < end
    ]


def _sliced(batch: Batch, length: int, part: slice) -> Batch:
    def is_column(value: Any) -> bool:
        return (
            isinstance(value, list)
            and len(value) == length
            and all(isinstance(each, _CONSTANTS) for each in value)
        )

    def take(leaf: Any) -> Any:
        if isinstance(leaf, Tensor):
            return leaf[part] if leaf.dim() > 0 else leaf
        return leaf[part] if is_column(leaf) else leaf

    return mapped(batch, take, is_column)


def _can_move(value: Any) -> bool:
    return not isinstance(value, Tensor | type) and callable(getattr(value, "to", None))


def _is_opaque(leaf: Any) -> bool:
    return not isinstance(leaf, (Tensor, *_CONSTANTS))


def _lengths(batch: Batch) -> set[int]:
    found = leaves(batch)
    return {leaf.size(0) for leaf in found if isinstance(leaf, Tensor) and leaf.dim() > 0}
