"""Inner products <g, O(x)> at less than the cost of O(x), exactly.

A probe needs one number of each candidate. Where candidates are chains of plain layers that
read one tensor, they run side by side: alike layers of several edges as one wider layer, a
leading ReLU or pooling once for all. And the last layers are never run: with z = W u (a 1×1
convolution) under a BatchNorm, mean and variance of z follow from the first two moments of u, and
<g, z> from g'u, so neither z nor its normalisation is computed. The small arithmetic that is left
waits in `Pending` until the whole network is through, and is done for all edges together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasp.errors import UsageError
from nasp.pending import Moments, Pending, Place, affine_of, normalised

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
        return not any(
            layer._forward_hooks
            or layer._forward_pre_hooks
            or (not layer.training and type(layer) is nn.BatchNorm2d)
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
    def square_sum(self) -> Tensor:
        """Sum of each channel's squares, ``[G, C]``."""
        return column_sums(self.matrix * self.matrix)

    @cached_property
    def products(self) -> Tensor:
        """Products of the channels of each group, u'u: ``[G, C, C]``."""
        return cross_products(self, self)

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


def column_sums(matrix: Tensor) -> Tensor:
    """Sum ``[N, G, C]`` over N, as a product with ones: half the time of a reduction on a CPU."""
    return (matrix.new_ones(len(matrix)) @ matrix.flatten(1)).view(matrix.shape[1:])


def cross_products(left: Features, right: Features) -> Tensor:
    """Return g'u of each group, ``[M, channels of g, channels of u]``; u may be shared."""
    if right.groups == 1:
        flat = left.matrix.flatten(1).T @ right.matrix[:, 0]
        return flat.view(left.groups, left.channels, -1)
    return left.matrix.permute(1, 2, 0) @ right.matrix.transpose(0, 1)


def add_inner_products(
    pending: Pending,
    places: Sequence[Place],
    chains: Sequence[Chain],
    inputs: Features,
    gradients: Features,
    noted: Sequence[bool],
) -> None:
    """Let `pending` have <g_i, O_i(x)> of M chains of one signature.

    Args:
        pending: gets what the M numbers follow from.
        places: for each chain, where its number belongs.
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
            moments = Moments(x.count, x.sum, x.square_sum)
            if is_last:
                _check_shape(x.tensor, x.channels, gradients)
                overlap = column_sums(gradients.matrix * x.matrix)
                pending.add_normalised(places, layers, moments, overlap, gradients.sum, noted)
                return
            scale, shift = affine_of(layers, moments, pending, noted)
            x, shared = Features(_as_images(x.matrix * scale + shift, x.tensor), width), False
        elif followers and type(followers[0]) is nn.BatchNorm2d and _is_pointwise(layers[0]):
            weight = _joined([_weight(layer).flatten(1)[None] for layer in layers])
            moments = Moments(x.count, x.sum, x.products)
            if position + 2 == len(signature):
                _check_shape(x.tensor, weight.shape[1], gradients)
                overlap = cross_products(gradients, x)
                pending.add_normalised(
                    places, followers, moments, overlap, gradients.sum, noted, weight
                )
                return
            scale, shift = affine_of(followers, normalised(moments, weight), pending, noted)
            x = Features(_pointwise(x, weight * scale[:, :, None], shift), width)
            shared, position = False, position + 1
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
        pending.add(places[0], torch.dot(gradients.matrix.flatten(), x.matrix.flatten()))
        return
    values = column_sums(gradients.matrix * x.matrix).sum(dim=1)
    for place, value in zip(places, values.unbind(), strict=True):
        pending.add(place, value)


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


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))


def _convolved(x: Features, layers: Sequence[nn.Module]) -> Tensor:
    """Run a convolution of each chain, as one: dense on a shared input, else grouped."""
    first = layers[0]
    assert isinstance(first, nn.Conv2d)
    biases = [layer.bias for layer in layers if isinstance(layer.bias, Tensor)]
    is_dense = x.groups == 1 and first.groups == 1
    return F.conv2d(
        x.tensor if is_dense or x.groups > 1 else x.repeated(len(layers)),
        _joined([_weight(layer) for layer in layers]),
        _joined(biases) if biases else None,
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
