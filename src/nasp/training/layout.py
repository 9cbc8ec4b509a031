"""In which order a network's numbers lie in memory."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasp.errors import UsageError

LAST_BLOCK = 16
"""Channels that oneDNN reads at once, on AVX-512; on AVX2 half as many."""


def fast_layout(device: torch.device, network: nn.Module) -> torch.memory_format:
    """Return the memory layout in which a network of our spaces runs fastest on a device.

    Measured: on a CPU depthwise and small convolutions run about twice as fast channels-last; on
    an H200, in float32, a probe of DARTS's space takes 20 ms in torch's own layout and 29 ms
    channels-last, a training step 10 and 12. A network with a convolution that oneDNN computes
    wrongly channels-last keeps torch's own layout; see `check_layout`.
    """
    if device.type == "cpu" and not any(map(_is_written_past, network.modules())):
        return torch.channels_last
    return torch.contiguous_format


def laid_out(network: nn.Module, device: torch.device) -> nn.Module:
    """Return the network in `fast_layout`; without convolutions it stays as it is."""
    ordered: nn.Module = network.to(memory_format=fast_layout(device, network))
    return ordered


def check_layout(network: nn.Module, device: torch.device) -> None:
    """Refuse what torch itself computes wrongly, and says nothing of.

    On CUDA devices the gradient of average pooling with padding is wrong channels-last, in torch
    2.11 by our own measurement (pytorch/pytorch issue 188344); later ones are tried. On CPUs
    oneDNN writes past its workspace in the backward pass of a 1x1 convolution with a stride and
    few channels (uxlfoundation/oneDNN issue 6035): from about 50x50 pixels on, torch 2.14 crashes.

    Raises:
        UsageError: the network has such a layer, and weights that lie channels-last.
    """
    if not _is_channels_last(network):
        return
    if device.type == "cpu" and any(map(_is_written_past, network.modules())):
        what = f"1x1 convolutions with a stride and fewer than {LAST_BLOCK} channels on CPUs"
    elif (
        device.type == "cuda"
        and any(map(_pads_its_average, network.modules()))
        and _pools_wrongly(device)
    ):
        what = "AvgPool2d with padding on this GPU"
    else:
        return
    raise UsageError(
        f"torch {torch.__version__} computes wrong gradients of {what} where the network lies"
        " channels-last: give the search network.to(memory_format=torch.contiguous_format), or"
        " take a newer torch."
    )


def _is_written_past(module: nn.Module) -> bool:
    return (
        isinstance(module, nn.Conv2d)
        and set(module.kernel_size) == {1}
        and max(module.stride) > 1
        and module.groups == 1
        and module.in_channels < LAST_BLOCK
    )


def _pads_its_average(module: nn.Module) -> bool:
    return isinstance(module, nn.AvgPool2d) and module.padding not in (0, (0, 0))


def _is_channels_last(network: nn.Module) -> bool:
    return any(
        weight.dim() == 4
        and weight.is_contiguous(memory_format=torch.channels_last)
        and not weight.is_contiguous()
        for weight in network.parameters()
    )


@cache
def _pools_wrongly(device: torch.device) -> bool:
    def gradient(layout: torch.memory_format) -> Tensor:
        x = torch.ones(1, 2, 4, 4, device=device).contiguous(memory_format=layout).requires_grad_()
        pooled = F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return torch.autograd.grad(pooled.sum(), x)[0]

    return not torch.allclose(gradient(torch.channels_last), gradient(torch.contiguous_format))
