"""Candidate operations on a part of the channels (PC-DARTS, Xu et al., ICLR 2020)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from nasp.errors import UsageError


class PartialChannels(nn.Module):
    """Run an operation on the first 1/K of the channels, and let the others go past it.

    The operation's output and the other channels are concatenated and shuffled, so that a
    second such layer sees other channels: channel c of what was joined becomes channel
    ``K (c mod C/K) + c // (C/K)``.

    A mixture of candidates that are all of this kind runs the operations on their part alone.

    Args:
        operation: maps ``[B, C/K, ...]`` to the same number of channels.
        parts: K, at least 2; C must be a multiple of it.
        stride: of the operation. Where it is not 1, the channels that go past, which must be
            ``[B, C, H, W]``, are max-pooled to its output's size, rounded up.

    Raises:
        UsageError: `parts` is less than 2.
    """

    def __init__(self, operation: nn.Module, parts: int, stride: int = 1) -> None:
        super().__init__()
        if parts < 2:
            raise UsageError(f"PartialChannels needs at least 2 parts, not {parts}.")
        self.operation = operation
        self.parts = parts
        self.stride = stride
        self.past: nn.Module = (
            nn.Identity() if stride == 1 else nn.MaxPool2d(stride, stride, ceil_mode=True)
        )
        self.shuffle = nn.ChannelShuffle(parts)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, C, ...]`` to ``[B, C, ...]``, of the operation's size."""
        seen, rest = self.split(x)
        return self.join(self.operation(seen), rest)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the channels that the operation sees, and the others as they will be joined."""
        width = x.shape[1] // self.parts
        return x[:, :width], self.past(x[:, width:])

    def join(self, seen: Tensor, rest: Tensor) -> Tensor:
        """Return the operation's output and the other channels, shuffled."""
        shuffled: Tensor = self.shuffle(torch.cat([seen, rest], dim=1))
        return shuffled


def alike_frames(operations: Sequence[nn.Module]) -> list[PartialChannels]:
    """Return the operations, where all of them see the same part of the channels; else none."""
    frames = [o for o in operations if isinstance(o, PartialChannels)]
    are_alike = len({(frame.parts, frame.stride) for frame in frames}) == 1
    return frames if are_alike and len(frames) == len(operations) else []
