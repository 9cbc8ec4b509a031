"""Candidate operations of image search spaces; each maps [B,C,H,W] to [B,C,H/stride,W/stride].

A stride of 2 rounds an odd size up, in every operation, so that any two of them can be summed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from nasp.errors import UsageError, unknown_name
from nasp.spaces.space import NetworkConfig
from nasp.supernet.partial_channels import PartialChannels
from nasp.supernet.zero import Zero

Candidate = Callable[[int, int, bool], nn.Module]
"""Makes a candidate operation from its channels, its stride, and whether BatchNorm is affine."""


def relu_conv_bn(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, affine: bool = True
) -> nn.Sequential:
    """Return ReLU, convolution, BatchNorm: [B,in,H,W] to [B,out,H/stride,W/stride].

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel: height and width of the kernel, odd.
        stride: 1 keeps the resolution, 2 halves it.
        affine: whether BatchNorm learns a scale and a shift.
    """
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels, affine=affine),
    )


def _depthwise_separable(
    channels: int, kernel: int, stride: int, dilation: int, affine: bool
) -> list[nn.Module]:
    padding = dilation * (kernel // 2)
    return [
        nn.ReLU(),
        nn.Conv2d(
            channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False
        ),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    ]


def sep_conv(channels: int, stride: int, affine: bool, *, kernel: int) -> nn.Sequential:
    """Return the separable convolution of DARTS: twice ReLU, depthwise, pointwise, BatchNorm."""
    return nn.Sequential(
        *_depthwise_separable(channels, kernel, stride, 1, affine),
        *_depthwise_separable(channels, kernel, 1, 1, affine),
    )


def dil_conv(channels: int, stride: int, affine: bool, *, kernel: int) -> nn.Sequential:
    """Return ReLU, depthwise with dilation 2, pointwise, BatchNorm (DARTS, section 3.1)."""
    return nn.Sequential(*_depthwise_separable(channels, kernel, stride, 2, affine))


def conv(channels: int, stride: int, affine: bool, *, kernel: int) -> nn.Sequential:
    """Return a plain convolution: ReLU, convolution, BatchNorm."""
    return relu_conv_bn(channels, channels, kernel, stride, affine)


def conv_3x1_1x3(channels: int, stride: int, affine: bool) -> nn.Sequential:
    """Return a 3x3 convolution factorised into a 1x3 and a 3x1 one (NASNet, NASP's 12 ops)."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(channels, channels, (1, 3), (1, stride), (0, 1), bias=False),
        nn.Conv2d(channels, channels, (3, 1), (stride, 1), (1, 0), bias=False),
        nn.BatchNorm2d(channels, affine=affine),
    )


def max_pool(channels: int, stride: int, affine: bool, *, kernel: int) -> nn.MaxPool2d:
    """Return a max pooling; `channels` and `affine` do not matter to it."""
    del channels, affine
    return nn.MaxPool2d(kernel, stride, kernel // 2)


def avg_pool(channels: int, stride: int, affine: bool, *, kernel: int) -> nn.AvgPool2d:
    """Return an average pooling over the pixels inside the image, as in DARTS."""
    del channels, affine
    return nn.AvgPool2d(kernel, stride, kernel // 2, count_include_pad=False)


class FactorizedReduce(nn.Module):
    """Halve the resolution without a blind spot: [B,in,H,W] to [B,out,H/2,W/2] (DARTS).

    ReLU, then two 1x1 convolutions of stride 2, one of them shifted by a pixel both ways, so
    that pixels of both diagonals are seen; their outputs are concatenated; BatchNorm.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output, at least 2.
        affine: whether BatchNorm learns a scale and a shift.
    """

    def __init__(self, in_channels: int, out_channels: int, affine: bool = True) -> None:
        super().__init__()
        half = out_channels // 2
        self.relu = nn.ReLU()
        self.even = nn.Conv2d(in_channels, half, 1, 2, bias=False)
        self.odd = nn.Conv2d(in_channels, out_channels - half, 1, 2, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, affine=affine)

    def forward(self, x: Tensor) -> Tensor:
        """Map [B,in,H,W] to [B,out,H/2,W/2], sizes rounded up."""
        x = self.relu(x)
        # The zeros are read only where H or W is odd: without them the shifted half would be
        # one pixel short there.
        shifted = F.pad(x, (0, 1, 0, 1))[:, :, 1:, 1:]
        out: Tensor = self.norm(torch.cat([self.even(x), self.odd(shifted)], dim=1))
        return out


def skip_connect(channels: int, stride: int, affine: bool) -> nn.Module:
    """Return the identity, or `FactorizedReduce` where the resolution is halved."""
    return nn.Identity() if stride == 1 else FactorizedReduce(channels, channels, affine)


def none(channels: int, stride: int, affine: bool) -> nn.Module:
    """Return the operation that cuts the edge: its output is zero."""
    del channels, affine
    return Zero(stride=stride)


OPERATIONS: dict[str, Candidate] = {
    "none": none,
    "skip_connect": skip_connect,
    "avg_pool_3x3": partial(avg_pool, kernel=3),
    "max_pool_3x3": partial(max_pool, kernel=3),
    "max_pool_5x5": partial(max_pool, kernel=5),
    "max_pool_7x7": partial(max_pool, kernel=7),
    "conv_1x1": partial(conv, kernel=1),
    "conv_3x3": partial(conv, kernel=3),
    "conv_3x1_1x3": conv_3x1_1x3,
    "nor_conv_1x1": partial(conv, kernel=1),
    "nor_conv_3x3": partial(conv, kernel=3),
    "sep_conv_3x3": partial(sep_conv, kernel=3),
    "sep_conv_5x5": partial(sep_conv, kernel=5),
    "sep_conv_7x7": partial(sep_conv, kernel=7),
    "dil_conv_3x3": partial(dil_conv, kernel=3),
    "dil_conv_5x5": partial(dil_conv, kernel=5),
}


def pick(names: Iterable[str]) -> dict[str, Candidate]:
    """Return the candidate operations of these names, in this order.

    Raises:
        UsageError: a name is not in `OPERATIONS`.
    """
    table = {}
    for name in names:
        if name not in OPERATIONS:
            raise unknown_name("candidate operation", name, list(OPERATIONS))
        table[name] = OPERATIONS[name]
    return table


def searched(
    candidates: Mapping[str, Candidate],
    channels: int,
    stride: int,
    norm_pools: bool,
    partial_channels: int = 1,
) -> dict[str, nn.Module]:
    """Return the modules of a `Choice` in a search, BatchNorm without affine parameters.

    Args:
        candidates: the table to make them from.
        channels: channels of the edge's input and output.
        stride: 1 or 2.
        norm_pools: whether BatchNorm follows a pooling, as DARTS does so that a pooling's
            output has the scale of a convolution's.
        partial_channels: K, where the candidates see 1/K of the channels; default 1. An edge of
            stride 2 needs at least 2 channels in a part.

    Raises:
        UsageError: `channels` is no multiple of K.
    """
    if channels % partial_channels:
        raise UsageError(
            f"channels={channels} cannot be split for partial_channels={partial_channels}:"
            f" take a multiple of {partial_channels}."
        )
    channels //= partial_channels
    modules = {name: make(channels, stride, False) for name, make in candidates.items()}
    for name, module in modules.items():
        if norm_pools and isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            modules[name] = nn.Sequential(module, nn.BatchNorm2d(channels, affine=False))
    if partial_channels == 1:
        return modules
    return {name: PartialChannels(m, partial_channels, stride) for name, m in modules.items()}


def on_edge(
    candidates: Mapping[str, Candidate],
    channels: int,
    stride: int,
    norm_pools: bool,
    config: NetworkConfig,
) -> dict[str, nn.Module]:
    """Return the modules of a `Choice` of a supernet: `searched`, or each one `derived`."""
    if config.as_derived:
        return {n: derived(make, channels, stride, False) for n, make in candidates.items()}
    return searched(candidates, channels, stride, norm_pools, config.partial_channels)


def derived(make: Candidate, channels: int, stride: int, drop_path: bool) -> nn.Module:
    """Return the module of an edge in a derived network, BatchNorm with affine parameters.

    Args:
        make: the candidate operation that the architecture has on the edge.
        channels: channels of the edge's input and output.
        stride: 1 or 2.
        drop_path: whether `torchvision.ops.StochasticDepth` follows, with p = 0 for the trainer
            to raise. An identity is never dropped, as in DARTS.
    """
    module = make(channels, stride, True)
    if drop_path and not isinstance(module, nn.Identity):
        return nn.Sequential(module, StochasticDepth(p=0.0, mode="row"))
    return module
