"""Squeeze-and-excitation, a layer that a probe knows."""

from __future__ import annotations

from torch import Tensor, nn


class SqueezeExcitation(nn.Module):
    """Scale each channel by what the means of all say (Hu et al., CVPR 2018).

    The gate is MobileNetV3's: a hard sigmoid behind two 1×1 convolutions of the means.

    Args:
        channels: of input and output.
        squeezed: channels between the two convolutions.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1),
            nn.ReLU(),
            nn.Conv2d(squeezed, channels, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``[B, C, H, W]`` to the same shape."""
        scaled: Tensor = x * self.gate(x)
        return scaled
