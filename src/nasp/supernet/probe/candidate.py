"""A candidate operation as the chain of plain layers it is, and how a probe runs the chosen one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasp.supernet.excitation import SqueezeExcitation
from nasp.supernet.probe.passes import first_order

_NEVER_DRAWS = (
    *(nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict),
    *(nn.Identity, nn.Flatten, nn.Unflatten),
    *(nn.Linear, nn.Bilinear, nn.Embedding, nn.Upsample, nn.ChannelShuffle, nn.PixelShuffle),
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.LayerNorm, nn.GroupNorm),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.AvgPool1d, nn.AvgPool2d, nn.AdaptiveAvgPool2d),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Tanh, nn.Hardswish),
    *(nn.Hardtanh, nn.ELU, nn.Softmax, nn.Hardsigmoid),
)
STATELESS = (nn.ReLU, nn.Hardswish, nn.MaxPool2d, nn.AvgPool2d)
KNOWN_LAYERS = (*STATELESS, nn.Identity, nn.Conv2d, nn.BatchNorm2d, SqueezeExcitation)


def may_draw(network: nn.Module) -> bool:
    """Return whether one of the modules is not known never to draw random numbers."""
    return not all(
        type(module) in _NEVER_DRAWS or type(module).__module__.startswith("nasp.")
        for module in network.modules()
    )


@dataclass(frozen=True)
class Candidates:
    """The candidates of one edge: names, operations, and chains where they are such.

    Attributes:
        kept: modules inside whose buffers only the chosen candidate may move.
    """

    names: tuple[str, ...]
    operations: tuple[nn.Module, ...]
    chains: tuple[Chain | None, ...]
    kept: tuple[nn.Module, ...] = ()

    @staticmethod
    def of(names: Sequence[str], operations: Sequence[nn.Module]) -> Candidates:
        """Look at the operations once, for all passes to come."""
        chains = tuple(Chain.of(operation) for operation in operations)
        return Candidates(tuple(names), tuple(operations), chains)

    def keeping(self, modules: tuple[nn.Module, ...]) -> Candidates:
        """Return them such that no unchosen one moves the buffers of these modules."""
        if not modules:
            return self
        chains = tuple(
            None if chain is None or any(layer in modules for layer in chain.layers) else chain
            for chain in self.chains
        )
        return replace(self, chains=chains, kept=modules)

    @cached_property
    def draws(self) -> bool:
        """Whether a candidate may draw random numbers."""
        return any(may_draw(operation) for operation in self.operations)


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
        return not any(self._hooks) and all(norm.training for norm in self._norms)

    @cached_property
    def _hooks(self) -> tuple[Mapping[int, Any], ...]:
        # Looked at before every pass, so they are gathered once.
        names = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
        parts = [part for layer in self.layers for part in layer.modules()]
        return tuple(getattr(part, name) for part in parts for name in names)

    @cached_property
    def _norms(self) -> tuple[nn.Module, ...]:
        return tuple(layer for layer in self.layers if type(layer) is nn.BatchNorm2d)

    @cached_property
    def shared(self) -> tuple[nn.Module, ...]:
        """The leading layers without state: they make the same of one tensor in every chain."""
        leading = takewhile(lambda layer: isinstance(layer, STATELESS), self.layers[: self.stop])
        return tuple(leading)

    @cached_property
    def stop(self) -> int:
        """How many layers come before the end: a BatchNorm, and a 1×1 convolution before it.

        One that narrows is run: the products of its many input channels would cost more.
        """
        if not self.ends_in_norm:
            return len(self.layers)
        before = self.layers[-2] if len(self.layers) > 1 else self.layers[-1]
        narrows = isinstance(before, nn.Conv2d) and before.in_channels > before.out_channels
        return len(self.layers) - (2 if is_pointwise(before) and not narrows else 1)

    @property
    def ends_in_norm(self) -> bool:
        """Whether the last layer is a BatchNorm."""
        return bool(self.layers) and type(self.layers[-1]) is nn.BatchNorm2d

    def run(self, x: Tensor, alpha: Tensor, fixed_weights: bool) -> Tensor:
        """Run a chain that ends in a BatchNorm, as the chosen one: y = alpha · O(x).

        The BatchNorm takes alpha into its scale, whose gradient its backward pass has at hand: so
        <dL/dy, O(x)> comes for nothing.

        Args:
            x: ``[B, C, H, W]``.
            alpha: 1, part of a graph; gets that inner product as its gradient.
            fixed_weights: the weights get no gradient, and nothing is kept for one.
        """
        *layers, norm = self.layers
        for layer in layers:
            x = _convolved(x, layer) if fixed_weights else layer(x)
        assert isinstance(norm, nn.BatchNorm2d)
        return _normalised(x, norm, alpha)


def is_pointwise(layer: nn.Module) -> bool:
    """Return whether a layer is a 1×1 convolution of all channels, without bias."""
    return (
        isinstance(layer, nn.Conv2d)
        and layer.kernel_size == layer.stride == (1, 1)
        and layer.padding == (0, 0)
        and layer.groups == 1
        and layer.bias is None
    )


class _FixedDepthwise(torch.autograd.Function):
    """A depthwise convolution of stride 1 whose weight gets no gradient.

    Its backward pass is a depthwise convolution, too, with the kernel turned round: on a CPU the
    forward kernel is up to ten times as fast as the backward one (dilated, 8×8 images).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: Any) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.layer = layer
        return F.conv2d(x, weight, bias, 1, layer.padding, layer.dilation, layer.groups)

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (weight,), layer = ctx.saved_tensors, ctx.layer
        # Autocast, which is over by now, had the convolution in the gradient's type.
        turned, padding = weight.to(gradient.dtype).flip((2, 3)), _turned_padding(layer)
        x = F.conv2d(gradient, turned, None, 1, padding, layer.dilation, layer.groups)
        return x, None, None, None


def _convolved(x: Tensor, layer: nn.Module) -> Tensor:
    """Run a layer; no graph leads to its weight where it is a convolution."""
    if not isinstance(layer, nn.Conv2d):
        plain: Tensor = layer(x)
        return plain
    weight = layer.weight.detach()
    bias = None if layer.bias is None else layer.bias.detach()
    is_depthwise = layer.groups == layer.in_channels == layer.out_channels
    is_on_cpu = x.device.type == "cpu"
    if is_on_cpu and is_depthwise and layer.stride == (1, 1) and min(_turned_padding(layer)) >= 0:
        y: Tensor = _FixedDepthwise.apply(x, weight, bias, layer)
        return y
    return F.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)


def _turned_padding(layer: nn.Conv2d) -> list[int]:
    """Return the padding with which the turned kernel maps an output's gradient to an input's."""
    assert not isinstance(layer.padding, str)
    sides = zip(layer.kernel_size, layer.dilation, layer.padding, strict=True)
    return [dilation * (kernel - 1) - padding for kernel, dilation, padding in sides]


def _normalised(x: Tensor, norm: nn.BatchNorm2d, alpha: Tensor) -> Tensor:
    # Contiguous: torch's kernel reads a scale by its address, and past the end of an expanded one.
    alpha = alpha.to(torch.promote_types(x.dtype, torch.float32))
    scale, shift = alpha.expand(norm.num_features).contiguous(), None
    if norm.affine:
        scale, shift = scale * norm.weight, scale * norm.bias
    if norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
    return F.batch_norm(
        x, norm.running_mean, norm.running_var, scale, shift, True, norm.momentum or 0.0, norm.eps
    )


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
        # Not padding given as a word, "same": what it comes to is not said in numbers.
        return (
            type(layer) is nn.Conv2d
            and layer.padding_mode == "zeros"
            and not isinstance(layer.padding, str)
        )
    if isinstance(layer, nn.MaxPool2d):
        return type(layer) is nn.MaxPool2d and not layer.return_indices
    return type(layer) in KNOWN_LAYERS
