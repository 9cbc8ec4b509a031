"""Inner products <g, O(x)> at less than the cost of O(x), exactly.

A probe needs one number of each candidate. Where candidates are chains of plain layers that
read one tensor, they run side by side: alike layers of several edges as one wider layer, a
leading ReLU or pooling once for all. And the last layers are never run: with z = W u (a 1×1
convolution) under a BatchNorm, mean and variance of z follow from mean and covariance of u, and
<g, z> from g'u, so neither z nor its normalisation is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasp.errors import UsageError

STATELESS = (nn.ReLU, nn.MaxPool2d, nn.AvgPool2d)
KNOWN_LAYERS = (*STATELESS, nn.Identity, nn.Conv2d, nn.BatchNorm2d)


@dataclass(frozen=True)
class Chain:
    """A candidate operation as the chain of plain layers it is.

    Attributes:
        layers: in order, the identities left out.
        signature: equal for chains that differ in their weights alone.
    """

    layers: tuple[nn.Module, ...]
    signature: tuple[str, ...]

    @staticmethod
    def of(operation: nn.Module) -> Chain | None:
        """Return the chain, or None where the candidate is something else."""
        layers = tuple(la for la in _flattened(operation) if type(la) is not nn.Identity)
        if not all(_is_known(layer) for layer in layers):
            return None
        return Chain(layers, tuple(repr(layer) for layer in layers))

    @property
    def is_usable(self) -> bool:
        """Whether no hook watches a layer, and its BatchNorms normalise by the batch."""
        return all(
            not (layer._forward_hooks or layer._forward_pre_hooks)
            and (layer.training or type(layer) is not nn.BatchNorm2d)
            for layer in self.layers
        )


class Features:
    """A tensor ``[B, G·C, H, W]`` and what follows from it, each computed when first asked for.

    Args:
        tensor: G groups of channels side by side, one for each chain; G = 1 where chains share it.
        groups: G.
    """

    def __init__(self, tensor: Tensor, groups: int = 1) -> None:
        self.tensor = tensor
        self.groups = groups
        self._after: dict[str, Features] = {}
        self._repeated: dict[int, Tensor] = {}

    @property
    def channels(self) -> int:
        """C, the channels of one group."""
        return self.tensor.shape[1] // self.groups

    @property
    def count(self) -> int:
        """N = B·H·W, the values of a channel."""
        return self.tensor.numel() // self.tensor.shape[1]

    @cached_property
    def matrix(self) -> Tensor:
        """The same values as ``[N, G, C]``; a view where the tensor is channels-last."""
        return self.tensor.permute(0, 2, 3, 1).reshape(-1, self.groups, self.channels)

    @cached_property
    def sum(self) -> Tensor:
        """Sum of each channel, ``[G, C]``."""
        return self.tensor.sum(dim=(0, 2, 3)).view(self.groups, -1)

    @cached_property
    def mean(self) -> Tensor:
        """Mean of each channel, ``[G, C]``."""
        return self.sum / self.count

    @cached_property
    def covariance(self) -> Tensor:
        """Biased covariance of the channels of each group, ``[G, C, C]``."""
        by_group = self.matrix.transpose(0, 1)
        squares = (by_group.transpose(1, 2) @ by_group) / self.count
        return squares - self.mean[:, :, None] * self.mean[:, None, :]

    @cached_property
    def variance(self) -> Tensor:
        """Biased variance of each channel, ``[G, C]``."""
        return ((self.matrix**2).sum(dim=0) / self.count - self.mean**2).clamp_min(0.0)

    def after(self, layer: nn.Module, signature: str) -> Features:
        """Return the features behind a layer without state, once for all layers alike."""
        if signature not in self._after:
            # Out of place, whatever the layer says: others read the same input.
            alike = torch.relu if isinstance(layer, nn.ReLU) else layer
            self._after[signature] = Features(alike(self.tensor))
        return self._after[signature]

    def repeated(self, groups: int) -> Tensor:
        """Return ``[B, groups·C, H, W]``: the same values for each of several chains."""
        if groups == 1:
            return self.tensor
        if groups not in self._repeated:
            self._repeated[groups] = torch.cat([self.tensor] * groups, dim=1)
        return self._repeated[groups]


def inner_products(
    chains: Sequence[Chain], inputs: Features, gradients: Features, noted: Sequence[bool]
) -> Tensor:
    """Return <g_i, O_i(x)> of M chains of one signature, ``[M]``.

    Args:
        chains: the O_i.
        inputs: of x, which all chains read; one group.
        gradients: of the g_i, M groups; each has the shape of O_i(x).
        noted: for each chain, whether its BatchNorms take note of this batch's statistics.
    """
    width, x, position, shared = len(chains), inputs, 0, True
    signature = chains[0].signature
    while position < len(signature):
        layers = [chain.layers[position] for chain in chains]
        is_last = position + 1 == len(signature)
        followers = [] if is_last else [chain.layers[position + 1] for chain in chains]
        if type(layers[0]) is nn.BatchNorm2d:
            scale, shift = _affine(layers, x.mean, x.variance, x.count, noted)
            if is_last:
                _check_shape(x.tensor, x.channels, gradients)
                products = (gradients.matrix * x.matrix).sum(dim=0)
                return (scale * products + shift * gradients.sum).sum(dim=1)
            x, shared = Features(_as_images(x.matrix * scale + shift, x.tensor), width), False
        elif followers and type(followers[0]) is nn.BatchNorm2d and _is_pointwise(layers[0]):
            weight = torch.stack([_weight(layer).flatten(1) for layer in layers])
            mean = (weight @ x.mean[:, :, None]).squeeze(2)
            variance = ((weight @ x.covariance) * weight).sum(dim=2).clamp_min(0.0)
            scale, shift = _affine(followers, mean, variance, x.count, noted)
            position += 1
            if position + 1 == len(signature):
                _check_shape(x.tensor, weight.shape[1], gradients)
                products = (weight * _cross(gradients, x)).sum(dim=2)
                return (scale * products + shift * gradients.sum).sum(dim=1)
            x = Features(_pointwise(x, weight * scale[:, :, None], shift), width)
            shared = False
        elif isinstance(layers[0], nn.Conv2d):
            x, shared = Features(_convolved(x, layers), width), False
        elif shared:
            x = x.after(layers[0], signature[position])
        elif type(layers[0]) is nn.ReLU:
            x = Features(x.tensor.relu_(), width)
        else:
            x = Features(layers[0](x.tensor), width)
        position += 1
    _check_shape(x.tensor, x.channels, gradients)
    if width == 1:
        return torch.dot(gradients.matrix.flatten(), x.matrix.flatten())[None]
    return (gradients.matrix * x.matrix).sum(dim=0).sum(dim=1)


def _flattened(module: nn.Module) -> Iterator[nn.Module]:
    if type(module) is nn.Sequential and not (module._forward_hooks or module._forward_pre_hooks):
        for layer in module:
            yield from _flattened(layer)
    else:
        yield module


def _is_known(layer: nn.Module) -> bool:
    if isinstance(layer, nn.BatchNorm2d):
        return type(layer) is nn.BatchNorm2d and layer.momentum is not None
    if isinstance(layer, nn.Conv2d):
        return type(layer) is nn.Conv2d and layer.padding_mode == "zeros"
    if isinstance(layer, nn.MaxPool2d):
        return type(layer) is nn.MaxPool2d and not layer.return_indices
    return type(layer) in KNOWN_LAYERS


def _is_pointwise(layer: nn.Module) -> bool:
    return (
        isinstance(layer, nn.Conv2d)
        and layer.kernel_size == layer.stride == (1, 1)
        and layer.padding == (0, 0)
        and layer.groups == 1
        and layer.bias is None
    )


def _weight(layer: nn.Module) -> Tensor:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight


def _bias(layer: nn.Module) -> Tensor:
    bias = layer.bias
    assert isinstance(bias, Tensor)
    return bias


def _convolved(x: Features, layers: Sequence[nn.Module]) -> Tensor:
    """Run a convolution of each chain, as one: dense on a shared input, else grouped."""
    first = layers[0]
    assert isinstance(first, nn.Conv2d)
    weight = torch.cat([_weight(layer) for layer in layers])
    bias = None if first.bias is None else torch.cat([_bias(layer) for layer in layers])
    is_dense = x.groups == 1 and first.groups == 1
    return F.conv2d(
        x.tensor if is_dense or x.groups > 1 else x.repeated(len(layers)),
        weight,
        bias,
        first.stride,
        first.padding,
        first.dilation,
        1 if is_dense else first.groups * len(layers),
    )


def _pointwise(x: Features, weight: Tensor, bias: Tensor) -> Tensor:
    """Run a 1×1 convolution of each chain: weight ``[M, out, in]``, bias ``[M, out]``."""
    if x.groups == 1:
        values = torch.addmm(bias.flatten(), x.matrix[:, 0], weight.flatten(0, 1).T)
        return _as_images(values, x.tensor)
    return F.conv2d(x.tensor, weight.reshape(-1, x.channels, 1, 1), bias.flatten(), groups=x.groups)


def _cross(gradients: Features, x: Features) -> Tensor:
    """Return g'u of each chain, ``[M, channels of g, channels of u]``."""
    if x.groups == 1:
        flat = gradients.matrix.flatten(1).T @ x.matrix[:, 0]
        return flat.view(gradients.groups, gradients.channels, -1)
    return gradients.matrix.permute(1, 2, 0) @ x.matrix.transpose(0, 1)


def _affine(
    norms: Sequence[nn.Module], mean: Tensor, variance: Tensor, count: int, noted: Sequence[bool]
) -> tuple[Tensor, Tensor]:
    """Return scale and shift ``[M, C]`` of BatchNorms for a batch's statistics ``[M or 1, C]``."""
    first = norms[0]
    assert isinstance(first, nn.BatchNorm2d)
    if count == 1:
        raise ValueError("BatchNorm needs more than one value a channel while training.")
    mean, variance = (statistic.expand(len(norms), -1) for statistic in (mean, variance))
    _note(norms, mean, variance * (count / (count - 1)), noted)
    scale = torch.rsqrt(variance + first.eps)
    if first.affine:
        scale = scale * torch.stack([_weight(norm) for norm in norms])
    shift = -mean * scale
    if first.affine:
        shift = shift + torch.stack([_bias(norm) for norm in norms])
    return scale, shift


def _note(
    norms: Sequence[nn.Module], mean: Tensor, unbiased: Tensor, noted: Sequence[bool]
) -> None:
    """Move the running statistics of those BatchNorms that take note of the batch."""
    taking = [index for index, is_noted in enumerate(noted) if is_noted]
    first = norms[0]
    assert isinstance(first, nn.BatchNorm2d)
    if not taking or first.running_mean is None:
        return
    for name, statistic in (("running_mean", mean), ("running_var", unbiased)):
        kept = [norms[index].get_buffer(name) for index in taking]
        torch._foreach_lerp_(kept, [statistic[index] for index in taking], first.momentum or 0.0)
    counts = [norms[index].get_buffer("num_batches_tracked") for index in taking]
    torch._foreach_add_(counts, 1)


def _as_images(matrix: Tensor, like: Tensor) -> Tensor:
    """Return ``[N, G, C]`` as ``[B, G·C, H, W]``, channels-last in memory."""
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
