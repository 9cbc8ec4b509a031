"""Image batches side by side, and the sums over them that inner products follow from."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from nasp.supernet.probe.pooling import max_pooled


class Features:
    """M tensors side by side, ``[B, M·C, H, W]``, and what follows, computed when asked for."""

    def __init__(self, tensor: Tensor, members: int = 1) -> None:
        self.tensor = tensor
        self.members = members
        self._after: dict[str, Features] = {}

    @staticmethod
    def beside(several: Sequence[Features]) -> Features:
        """Return several of one shape as one."""
        if len(several) == 1:
            return several[0]
        return Features(torch.cat([each.tensor for each in several], dim=1), len(several))

    @property
    def count(self) -> int:
        """N = B·H·W, the values of a channel."""
        return self.tensor.numel() // self.tensor.shape[1]

    @cached_property
    def wide(self) -> Tensor:
        """In float32 at least: sums over a batch need it."""
        return self.tensor.to(torch.promote_types(self.tensor.dtype, torch.float32))

    @cached_property
    def is_matrix(self) -> bool:
        """Whether it is one tensor, channels-last: a matrix ``[N, C]`` without a copy."""
        layout = torch.channels_last
        return self.members == 1 and self.tensor.is_contiguous(memory_format=layout)

    @cached_property
    def matrix(self) -> Tensor:
        """The values as ``[N, C]``, of one tensor that is channels-last."""
        return self.wide.permute(0, 2, 3, 1).reshape(-1, self.tensor.shape[1])

    @cached_property
    def rows(self) -> Tensor:
        """The values as ``[B, M, C, H·W]``."""
        batch = len(self.tensor)
        return self.wide.contiguous().view(batch, self.members, -1, self.tensor[0, 0].numel())

    @cached_property
    def sum(self) -> Tensor:
        """Sum of each channel, ``[M, C]``."""
        return self.matrix.sum(dim=0)[None] if self.is_matrix else self.rows.sum(dim=(0, 3))

    @cached_property
    def square_sum(self) -> Tensor:
        """Sum of each channel's squares, ``[M, C]``."""
        return channel_products(self.wide, self.wide).view(self.members, -1)

    @cached_property
    def products(self) -> Tensor:
        """Products of the channels with each other, u'u: ``[M, C, C]``."""
        return self.products_with(self)

    def products_with(self, other: Features) -> Tensor:
        """Return the products of these channels with the other's: ``[M, C, C of the other]``."""
        if self.is_matrix and other.is_matrix:
            return (self.matrix.T @ other.matrix)[None]
        return (self.rows @ other.rows.transpose(2, 3)).sum(dim=0)

    def after(self, layer: nn.Module, signature: str) -> Features:
        """Return the features behind a layer without state, once for all layers alike."""
        if signature not in self._after:
            self._after[signature] = Features(run_shared(layer, self.tensor), self.members)
        return self._after[signature]


def run_shared(layer: nn.Module, x: Tensor) -> Tensor:
    """Run a layer out of place, whatever it says: others may read the same input."""
    if isinstance(layer, nn.MaxPool2d):
        return max_pooled(x, layer)
    if isinstance(layer, nn.ReLU | nn.Hardswish):
        return torch.relu(x) if isinstance(layer, nn.ReLU) else nn.functional.hardswish(x)
    output: Tensor = layer(x)
    return output


def channel_products(left: Tensor, right: Tensor) -> Tensor:
    """Return the inner product of each channel of two ``[B, C, H, W]``: ``[C]``."""
    if left.device.type != "cpu":
        return (left * right).sum(dim=(0, 2, 3))
    # What a BatchNorm's backward pass sums for its scale: read once, without a tensor of products.
    zeros, ones = left.new_zeros(left.shape[1]), left.new_ones(left.shape[1])
    _, products, _ = torch.ops.aten.native_batch_norm_backward(
        left, right, None, None, None, zeros, ones, True, 0.0, [False, True, False]
    )
    found: Tensor = products
    return found


def layout_of(images: Tensor) -> torch.memory_format:
    """Return how an image batch lies in memory."""
    is_channels_last = images.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_channels_last else torch.contiguous_format


def is_image_batch(x: object) -> bool:
    """Return whether the probe of image batches takes it: ``[B, C, H, W]``, not empty, real."""
    if not (isinstance(x, Tensor) and x.dim() == 4 and x.numel()):
        return False
    is_half = x.dtype in (torch.bfloat16, torch.float16)
    return x.dtype in (torch.float32, torch.float64) or (
        is_half and torch.is_autocast_enabled(x.device.type)
    )
