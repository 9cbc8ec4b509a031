"""Inner products <g, O(x)> at less than the cost of O(x), exactly.

A probe needs one number of each unchosen candidate. Where the candidate is a chain of plain
layers, the number is had without its last ones: with z = W u (a 1×1 convolution) under a
BatchNorm, mean and variance of z follow from mean and covariance of u, and <g, z> from g'u, so
that neither z nor its normalisation is computed. What only depends on the input (a leading ReLU
or pooling, and its statistics) is computed once for all edges that read it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from nasp.errors import UsageError

STATELESS = (nn.ReLU, nn.MaxPool2d, nn.AvgPool2d)
KNOWN_LAYERS = (*STATELESS, nn.Identity, nn.Conv2d, nn.BatchNorm2d)
REMEMBERED_INPUTS = 6


class Features:
    """A tensor ``[B, C, H, W]`` and what follows from it, each computed when first asked for."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self._after: dict[str, Features] = {}

    @property
    def count(self) -> int:
        """Values a channel: B·H·W."""
        return self.tensor.numel() // self.tensor.shape[1]

    @cached_property
    def matrix(self) -> Tensor:
        """The same values as ``[B·H·W, C]``; a view where the tensor is channels-last."""
        return self.tensor.permute(0, 2, 3, 1).reshape(-1, self.tensor.shape[1])

    @cached_property
    def sum(self) -> Tensor:
        """Sum of each channel, ``[C]``."""
        return self.tensor.sum(dim=(0, 2, 3))

    @property
    def mean(self) -> Tensor:
        """Mean of each channel, ``[C]``."""
        return self.sum / self.count

    @cached_property
    def covariance(self) -> Tensor:
        """Biased covariance of the channels, ``[C, C]``."""
        return torch.addr(self.matrix.T @ self.matrix / self.count, self.mean, self.mean, alpha=-1)

    @cached_property
    def variance(self) -> Tensor:
        """Biased variance of each channel, ``[C]``."""
        squares = (self.tensor * self.tensor).sum(dim=(0, 2, 3)) / self.count
        return (squares - self.mean**2).clamp_min(0.0)

    def after(self, layer: nn.Module) -> Features:
        """Return the features behind a layer without state, once for all layers alike."""
        if isinstance(layer, nn.Identity):
            return self
        key = repr(layer)
        if key not in self._after:
            # Out of place, whatever the layer says: others read the same input.
            alike = torch.relu if isinstance(layer, nn.ReLU) else layer
            self._after[key] = Features(alike(self.tensor))
        return self._after[key]


class Shortcuts:
    """Inner products of one edge's output gradient with the outputs of its candidates."""

    def __init__(self, inputs: Features, gradient: Features) -> None:
        self.inputs = inputs
        self.gradient = gradient

    def product(self, operation: nn.Module) -> Tensor | None:
        """Return <g, O(x)>, or None where O is no chain of plain layers."""
        layers = chain_of(operation)
        return None if layers is None else inner_product(layers, self.inputs, self.gradient)


class SharedInputs:
    """Remembers the features of the tensors that were read last, for edges that read the same."""

    def __init__(self) -> None:
        self._features: OrderedDict[tuple[object, ...], Features] = OrderedDict()

    def shortcuts(self, inputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> Shortcuts | None:
        """Return the shortcuts of an edge, or None unless it maps one image batch to another."""
        tensors = (*inputs, *gradients)
        if len(tensors) != 2 or any(t.dim() != 4 for t in tensors):
            return None
        x, g = tensors
        if x.dtype != g.dtype or x.dtype not in (torch.float32, torch.float64) or not x.numel():
            return None
        return Shortcuts(self.features(x), Features(g))

    def features(self, x: Tensor) -> Features:
        """Return the features of a tensor; the same ones for the same values in memory."""
        # An entry keeps its tensor alive, so no other can come to lie at the same address.
        key = (x.data_ptr(), x.shape, x.stride(), x.dtype, x._version)
        if key not in self._features:
            self._features[key] = Features(x)
            if len(self._features) > REMEMBERED_INPUTS:
                self._features.popitem(last=False)
        self._features.move_to_end(key)
        return self._features[key]


def chain_of(operation: nn.Module) -> list[nn.Module] | None:
    """Return a candidate as the chain of layers it is, or None where it is something else.

    Layers with hooks, and BatchNorms that do not normalise by the batch or that average their
    statistics without a momentum, make it something else.
    """
    layers = list(_flattened(operation))
    return layers if all(_is_plain(layer) for layer in layers) else None


def inner_product(layers: Sequence[nn.Module], inputs: Features, gradient: Features) -> Tensor:
    """Return <g, O(x)> of a chain that `chain_of` gave; its BatchNorms count the batch once.

    Args:
        layers: the chain O.
        inputs: of x.
        gradient: of g, which has the shape of O(x).
    """
    x, position, fresh = inputs, 0, False
    while position < len(layers):
        layer = layers[position]
        follower = layers[position + 1] if position + 1 < len(layers) else None
        if isinstance(layer, nn.BatchNorm2d):
            scale, shift = _affine(layer, x.mean, x.variance, x.count)
            if follower is None:
                _same_shape(x.tensor.shape, gradient)
                products = (gradient.tensor * x.tensor).sum(dim=(0, 2, 3))
                return scale @ products + shift @ gradient.sum
            x = Features(x.tensor * scale[:, None, None] + shift[:, None, None])
            fresh = True
        elif isinstance(follower, nn.BatchNorm2d) and _is_pointwise(layer) and x.count > 1:
            weight, scale, shift = _normalised_pointwise(layer, follower, x)
            position += 1
            if position + 1 == len(layers):
                batch, _, *size = x.tensor.shape
                _same_shape(torch.Size([batch, len(weight), *size]), gradient)
                products = (weight * (gradient.matrix.T @ x.matrix)).sum(dim=1)
                return scale @ products + shift @ gradient.sum
            x = _pointwise(x, scale[:, None] * weight, shift)
            fresh = True
        elif isinstance(layer, (*STATELESS, nn.Identity)):
            in_place = fresh and isinstance(layer, nn.ReLU)
            x = Features(x.tensor.relu_()) if in_place else x.after(layer)
        else:
            x = Features(layer(x.tensor))
            fresh = True
        position += 1
    _same_shape(x.tensor.shape, gradient)
    return _dot(gradient, x)


def _flattened(module: nn.Module) -> Iterator[nn.Module]:
    if type(module) is nn.Sequential and not _has_hooks(module):
        for layer in module:
            yield from _flattened(layer)
    else:
        yield module


def _is_plain(layer: nn.Module) -> bool:
    if type(layer) not in KNOWN_LAYERS or _has_hooks(layer):
        return False
    if isinstance(layer, nn.BatchNorm2d):
        return layer.training and layer.momentum is not None
    return not (isinstance(layer, nn.MaxPool2d) and layer.return_indices)


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _is_pointwise(layer: nn.Module) -> bool:
    return (
        isinstance(layer, nn.Conv2d)
        and layer.kernel_size == (1, 1)
        and layer.stride == (1, 1)
        and layer.padding == (0, 0)
        and layer.groups == 1
        and layer.bias is None
    )


def _normalised_pointwise(
    layer: nn.Module, norm: nn.BatchNorm2d, x: Features
) -> tuple[Tensor, Tensor, Tensor]:
    """Return W, and the scale and shift by which `norm` normalises W x."""
    weight: Tensor = layer.weight.flatten(1)  # type: ignore[operator]
    variance = ((weight @ x.covariance) * weight).sum(dim=1).clamp_min(0.0)
    scale, shift = _affine(norm, weight @ x.mean, variance, x.count)
    return weight, scale, shift


def _pointwise(x: Features, weight: Tensor, bias: Tensor) -> Features:
    batch, _, height, width = x.tensor.shape
    values = torch.addmm(bias, x.matrix, weight.T)
    return Features(values.view(batch, height, width, -1).permute(0, 3, 1, 2))


def _affine(
    norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Return scale and shift of a BatchNorm for a batch's statistics, which it takes note of."""
    if count == 1:
        raise ValueError("BatchNorm needs more than one value a channel while training.")
    if norm.running_mean is not None and norm.running_var is not None:
        momentum = norm.momentum or 0.0
        norm.running_mean.lerp_(mean, momentum)
        norm.running_var.lerp_(variance * (count / (count - 1)), momentum)
        if norm.num_batches_tracked is not None:
            norm.num_batches_tracked.add_(1)
    scale = torch.rsqrt(variance + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -mean * scale
    return scale, shift if norm.bias is None else shift + norm.bias


def _same_shape(shape: torch.Size, gradient: Features) -> None:
    if shape != gradient.tensor.shape:
        raise UsageError(
            "All candidates of an edge must give one shape, but one gives"
            f" {tuple(shape)} and another {tuple(gradient.tensor.shape)}."
        )


def _dot(left: Features, right: Features) -> Tensor:
    return torch.dot(left.matrix.flatten(), right.matrix.flatten())
