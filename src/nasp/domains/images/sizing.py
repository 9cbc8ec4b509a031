"""Bring images to the square that a network reads; exported files have `sized` as it stands."""

from __future__ import annotations

from torch import Tensor, nn


def sized(images: Tensor, short: int, size: int) -> Tensor:
    """Resize the shorter side of [B,C,H,W] to `short`, and cut out the middle square."""
    height, width = images.shape[-2:]
    least = min(height, width)
    tall, wide = short * height // least, short * width // least
    resized = nn.functional.interpolate(
        images,
        size=(tall, wide),
        mode="bilinear",
        antialias=True,
    )
    top, left = round((tall - size) / 2), round((wide - size) / 2)
    return resized[..., top : top + size, left : left + size]


def with_margin(size: int) -> int:
    """Return to which length the shorter side is resized for a square: ImageNet's 256 for 224."""
    return round(size * 256 / 224)
