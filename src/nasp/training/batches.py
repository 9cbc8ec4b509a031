"""What a batch of examples looks like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nasp.errors import UsageError
from nasp.training.task import Batch


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
