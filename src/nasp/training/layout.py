"""In which order a network's numbers lie in memory."""

from __future__ import annotations

import torch
from torch import nn


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
