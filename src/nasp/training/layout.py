"""In which order a network's numbers lie in memory."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nasp.errors import UsageError


def fast_layout(device: torch.device) -> torch.memory_format:
    """Return the memory layout in which the networks of our spaces run fastest on a device.

    Measured: on a CPU depthwise and small convolutions run about twice as fast channels-last; on
    an H200, in float32, a probe of DARTS's space takes 20 ms in torch's own layout and 29 ms
    channels-last, a training step 10 and 12.
    """
    return torch.channels_last if device.type == "cpu" else torch.contiguous_format


def laid_out(network: nn.Module, device: torch.device) -> nn.Module:
    """Return the network in `fast_layout`; without convolutions it stays as it is."""
    ordered: nn.Module = network.to(memory_format=fast_layout(device))
    return ordered


def check_layout(network: nn.Module, device: torch.device) -> None:
    """Refuse what torch itself computes wrongly, and says nothing of.

    On CUDA devices the gradient of average pooling with padding is wrong channels-last, in torch
    2.11 by our own measurement (pytorch/pytorch issue 188344); later ones are tried.

    Raises:
        UsageError: the network pools so, and has weights that lie channels-last.
    """
    pools = any(
        isinstance(m, nn.AvgPool2d) and m.padding not in (0, (0, 0)) for m in network.modules()
    )
    if device.type == "cuda" and pools and _is_channels_last(network) and _pools_wrongly(device):
        raise UsageError(
            f"torch {torch.__version__} computes wrong gradients of AvgPool2d with padding on this"
            " GPU where the network lies channels-last: give the search"
            " network.to(memory_format=torch.contiguous_format), or take a newer torch."
        )


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
