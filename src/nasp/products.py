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

from nasp.chain import Chain, is_pointwise
from nasp.errors import UsageError
from nasp.pending import End, Moments, Pending, Place, affine_of, normalised


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
            # Out of place, whatever the layer says: others read the same input.
            alike = torch.relu if isinstance(layer, nn.ReLU) else layer
            self._after[signature] = Features(alike(self.tensor))
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


def add_inner_products(pending: Pending, members: Sequence[Member], inputs: Features) -> None:
    """Let `pending` have <g, O(x)> of chains of one signature.

    Args:
        pending: gets what the numbers follow from.
        members: the chains, step by step side by side.
        inputs: of x, which all chains read.
    """
    signature = members[0].chain.signature
    noted = [member.is_noted for member in members]
    xs, shared, position = [inputs] * len(members), True, 0
    while position < len(signature):
        layers = [member.chain.layers[position] for member in members]
        is_last = position + 1 == len(signature)
        followers = [] if is_last else [m.chain.layers[position + 1] for m in members]
        if type(layers[0]) is nn.BatchNorm2d:
            moments = [Moments(x.count, x.sum, x.square_sum) for x in xs]
            if is_last:
                for member, x, moment, norm in zip(members, xs, moments, layers, strict=True):
                    _check_shape(x.tensor, x.channels, member.gradient)
                    overlap = channel_products(member.gradient.tensor, x.tensor)
                    pending.add_end(_end(member, norm, moment, overlap))
                return
            scale, shift = affine_of(layers, Moments.stacked(moments), pending, noted)
            normals = (
                torch.addcmul(b[:, None, None], x.tensor, s[:, None, None])
                for x, s, b in zip(xs, scale, shift, strict=True)
            )
            xs, shared = [Features(x) for x in normals], False
        elif followers and type(followers[0]) is nn.BatchNorm2d and is_pointwise(layers[0]):
            weights = [layer.get_parameter("weight").flatten(1) for layer in layers]
            moments = [Moments(x.count, x.sum, x.products) for x in xs]
            if position + 2 == len(signature):
                ends = zip(members, xs, moments, followers, weights, strict=True)
                for member, x, moment, norm, weight in ends:
                    _check_shape(x.tensor, len(weight), member.gradient)
                    overlap = member.gradient.matrix.T @ x.matrix
                    pending.add_end(_end(member, norm, moment, overlap, weight))
                return
            weight = torch.stack(weights)
            behind = normalised(Moments.stacked(moments), weight)
            scale, shift = affine_of(followers, behind, pending, noted)
            weight = weight * scale[:, :, None]
            xs = [
                Features(_as_images(torch.addmm(b, x.matrix, w.T), x.tensor))
                for x, w, b in zip(xs, weight, shift, strict=True)
            ]
            shared, position = False, position + 1
        elif shared and not isinstance(layers[0], nn.Conv2d):
            xs = [xs[0].after(layers[0], signature[position])] * len(members)
        elif type(layers[0]) is nn.ReLU:
            xs = [Features(x.tensor.relu_()) for x in xs]
        else:
            xs = [Features(layer(x.tensor)) for x, layer in zip(xs, layers, strict=True)]
            shared = False
        position += 1
    for member, x in zip(members, xs, strict=True):
        _check_shape(x.tensor, x.channels, member.gradient)
        value = torch.dot(member.gradient.matrix.flatten(), x.matrix.flatten())
        pending.add(member.place, value)


def _end(
    member: Member,
    norm: nn.Module,
    moments: Moments,
    overlap: Tensor,
    weight: Tensor | None = None,
) -> End:
    assert isinstance(norm, nn.BatchNorm2d)
    gradient_sum, is_noted = member.gradient.sum, member.is_noted
    return End(member.place, norm, moments, overlap, gradient_sum, is_noted, weight)


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
