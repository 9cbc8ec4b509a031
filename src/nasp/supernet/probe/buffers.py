"""Buffers that a candidate which is run for a comparison alone must not move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch import nn


@contextmanager
def buffers_kept(modules: Sequence[nn.Module]) -> Iterator[None]:
    """Put the values of the modules' own buffers back at the end."""
    buffers = [buffer for module in modules for buffer in module.buffers(recurse=False)]
    values = [buffer.clone() for buffer in buffers]
    try:
        yield
    finally:
        for buffer, value in zip(buffers, values, strict=True):
            # `data`: what a graph holds of the buffer counts as it was, and so it is.
            buffer.data.copy_(value)
