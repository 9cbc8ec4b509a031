"""Inner products <g, O(x)> at less than the cost of O(x), exactly.

A probe needs one number of each candidate. Where candidates are chains of plain layers that
read one tensor, a leading ReLU or pooling runs once for all. And the last layers are never run:
with z = W u (a 1×1 convolution) under a BatchNorm, mean and variance of z follow from the first two
moments of u, and <g, z> from g'u, so neither z nor its normalisation is computed. The small
arithmetic that is left waits in `Pending` until the whole network is through, and is done for all
edges together.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasp.errors import UsageError
from nasp.supernet.probe.candidate import STATELESS, Chain, is_pointwise
from nasp.supernet.probe.pending import End, Moments, Pending, Place
from nasp.supernet.probe.pooling import max_pooled


class Features:
    """A tensor ``[B, C, H, W]`` and what follows from it, each computed when first asked for."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self._after: dict[str, Features] = {}

    @property
    def channels(self) -> int:
        """C."""
        return self.tensor.shape[1]

    @property
    def count(self) -> int:
        """N = B·H·W, the values of a channel."""
        return self.tensor.numel() // self.tensor.shape[1]

    @cached_property
    def matrix(self) -> Tensor:
        """The same values as ``[N, C]``; a view where the tensor is channels-last."""
        return self.tensor.permute(0, 2, 3, 1).reshape(-1, self.channels)

    @cached_property
    def sum(self) -> Tensor:
        """Sum of each channel, ``[C]``."""
        return self.matrix.sum(dim=0)

    @cached_property
    def square_sum(self) -> Tensor:
        """Sum of each channel's squares, ``[C]``."""
        return channel_products(self.tensor, self.tensor)

    @cached_property
    def products(self) -> Tensor:
        """Products of the channels with each other, u'u: ``[C, C]``."""
        return self.matrix.T @ self.matrix

    def after(self, layer: nn.Module, signature: str) -> Features:
        """Return the features behind a layer without state, once for all layers alike."""
        if signature not in self._after:
            self._after[signature] = Features(_shared(layer, self.tensor))
        return self._after[signature]


class Member(NamedTuple):
    """One candidate whose inner product is wanted.

    Attributes:
        place: where it belongs.
        chain: the O.
        gradient: the g, of the shape of O(x).
        is_noted: whether its BatchNorms take note of this batch's statistics.
    """

    place: Place
    chain: Chain
    gradient: Features
    is_noted: bool


def channel_products(left: Tensor, right: Tensor) -> Tensor:
    """Return the inner product of each channel of two ``[B, C, H, W]``: ``[C]``."""
    # What a BatchNorm's backward pass sums for its scale: read once, without a tensor of products.
    zeros, ones = left.new_zeros(left.shape[1]), left.new_ones(left.shape[1])
    _, products, _ = torch.ops.aten.native_batch_norm_backward(
        left, right, None, None, None, zeros, ones, True, 0.0, [False, True, False]
    )
    found: Tensor = products
    return found


def add_inner_product(pending: Pending, member: Member, inputs: Features) -> None:
    """Let `pending` have <g, O(x)> of a chain.

    Args:
        pending: gets what the number follows from.
        member: the chain.
        inputs: of x; what its leading layers without state give is kept there for other chains.
    """
    layers, gradient = member.chain.layers, member.gradient
    x, is_shared = inputs, True
    for position, layer in enumerate(layers):
        rest = layers[position:]
        if member.chain.ends_in_norm and _is_end(rest):
            pending.add_end(_end(member, x, rest))
            return
        if is_shared and isinstance(layer, STATELESS):
            x = x.after(layer, member.chain.signature[position])
        else:
            x, is_shared = Features(_run(layer, x, member.is_noted)), False
    _check_shape(x.tensor, x.channels, gradient)
    value = torch.dot(gradient.matrix.flatten(), x.matrix.flatten())
    pending.add(member.place, value)


def _is_end(rest: Sequence[nn.Module]) -> bool:
    return len(rest) == 1 or (len(rest) == 2 and is_pointwise(rest[0]))


def _end(member: Member, x: Features, rest: Sequence[nn.Module]) -> End:
    """Return the end of a chain: a BatchNorm on `x`, or on what a 1×1 convolution makes of it."""
    gradient, norm = member.gradient, rest[-1]
    assert isinstance(norm, nn.BatchNorm2d)
    if len(rest) == 1:
        _check_shape(x.tensor, x.channels, gradient)
        weight = None
        squares, overlap = x.square_sum, channel_products(gradient.tensor, x.tensor)
    else:
        weight = rest[0].get_parameter("weight").flatten(1)
        _check_shape(x.tensor, len(weight), gradient)
        squares, overlap = x.products, gradient.matrix.T @ x.matrix
    moments = Moments(x.count, x.sum, squares)
    return End(member.place, norm, moments, overlap, gradient.sum, member.is_noted, weight)


def _shared(layer: nn.Module, x: Tensor) -> Tensor:
    """Run a layer without state out of place, whatever it says: others read the same input."""
    if isinstance(layer, nn.MaxPool2d):
        return max_pooled(x, layer)
    output: Tensor = torch.relu(x) if isinstance(layer, nn.ReLU) else layer(x)
    return output


def _run(layer: nn.Module, x: Features, is_noted: bool) -> Tensor:
    """Return what a layer makes of `x`, over which a ReLU writes: none but this chain reads it."""
    if isinstance(layer, nn.ReLU):
        return x.tensor.relu_()
    if is_pointwise(layer):
        # As a matrix product it costs less than half of a call of the convolution.
        return _as_images(x.matrix @ layer.get_parameter("weight").flatten(1).T, x.tensor)
    if isinstance(layer, nn.BatchNorm2d) and not is_noted:
        return F.batch_norm(x.tensor, None, None, layer.weight, layer.bias, True, eps=layer.eps)
    output: Tensor = layer(x.tensor)
    return output


def _as_images(matrix: Tensor, like: Tensor) -> Tensor:
    """Return ``[N, C]`` as ``[B, C, H, W]``, channels-last in memory."""
    batch, _, height, width = like.shape
    return matrix.reshape(batch, height, width, -1).permute(0, 3, 1, 2)


def _check_shape(tensor: Tensor, channels: int, gradients: Features) -> None:
    batch, _, *size = tensor.shape
    expected_batch, _, *expected_size = gradients.tensor.shape
    given = (batch, channels, *size)
    expected = (expected_batch, gradients.channels, *expected_size)
    if given != expected:
        raise UsageError(
            f"All candidates of an edge must give one shape, but one gives {given} and another"
            f" {expected}."
        )
