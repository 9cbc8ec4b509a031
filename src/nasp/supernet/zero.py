"""The candidate `none`."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Zero(nn.Module):
    """The candidate `none`: zeros, with no gradient to its input.

    Args:
        channels: channels of the output, dimension 1; default as the input's.
        stride: step over all dimensions from the third on; default 1.
    """

    def __init__(self, channels: int | None = None, stride: int = 1) -> None:
        super().__init__()
        self.channels = channels
        self.stride = stride

    def forward(self, x: Tensor, *_: Tensor) -> Tensor:
        """Map ``[B, C, ...]`` to zeros of ``[B, channels, ceil(... / stride)]``."""
        # Tuples are multiplied and added, not unpacked: so torch.fx can trace it.
        rest = x.dim() - 2
        if self.channels is not None:
            x = x[:, :1].expand((-1, self.channels) + (-1,) * rest)
        if self.stride != 1:
            x = x[(slice(None), slice(None)) + (slice(None, None, self.stride),) * rest]
        return torch.zeros_like(x, memory_format=torch.contiguous_format)

    def extra_repr(self) -> str:
        """Show what differs from the defaults."""
        parts = [] if self.channels is None else [f"channels={self.channels}"]
        return ", ".join(parts + ([f"stride={self.stride}"] if self.stride != 1 else []))
