"""From uint8 images to what a network receives: augmentation, scaling, normalisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms import v2

from nasp.domains.images.image_set import ImageSet
from nasp.errors import UsageError


@dataclass(frozen=True)
class ImageTransform:
    """What is done to images on their way to the network, in two steps.

    Attributes:
        sample: done to each image alone, uint8 `[C, h, w]` to uint8 `[C, H, W]`; None: nothing.
        batch: done to a batch at once, uint8 `[B, C, H, W]` to float32 `[B, C, H, W]`. What is
            random in it must still be drawn for each image.

    Both may draw from PyTorch's global CPU generator and from no other: `Loader` seeds it.
    """

    sample: Callable[[Tensor], Tensor] | None
    batch: Callable[[Tensor], Tensor]

    def __call__(self, images: Tensor) -> Tensor:
        """Transform uint8 `[B, C, h, w]` to float32 `[B, C, H, W]`."""
        if self.sample is not None:
            images = torch.stack([self.sample(image) for image in images])
        return self.batch(images)


class Cutout(v2.Transform):  # type: ignore[misc]  # torchvision has no types
    """Set one square of each image to 0 (DeVries and Taylor, 2017).

    The centre is uniform over the pixels, so the square may hang over the border:
    `v2.RandomErasing` keeps it inside. Meant for normalised images, where 0 is the mean.

    Args:
        side: of the square, in pixels.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Tensor]:
        """Draw a centre for each image of `[..., C, H, W]`."""
        *leading, _, height, width = flat_inputs[0].shape
        return {
            "y": torch.randint(height, (*leading, 1)),
            "x": torch.randint(width, (*leading, 1)),
        }

    def transform(self, inpt: Tensor, params: dict[str, Tensor]) -> Tensor:
        """Blank the squares."""
        height, width = inpt.shape[-2:]
        rows = self._inside(height, params["y"])
        columns = self._inside(width, params["x"])
        square = rows[..., :, None] & columns[..., None, :]
        return inpt.masked_fill(square.unsqueeze(-3).to(inpt.device), 0)

    def _inside(self, length: int, centre: Tensor) -> Tensor:
        offset = torch.arange(length) - (centre - self.side // 2)
        return (offset >= 0) & (offset < self.side)


def augmentation(image_set: ImageSet, cutout: int = 0) -> ImageTransform:
    """Return the usual training transforms of a set.

    In memory: random crop after zero padding by an eighth of the side, rounded (CIFAR's 4 of 32,
    1 for the 8x8 digits, and for Fashion-MNIST's 28 the 4 of Zhong et al., 2017), and a
    horizontal flip where `image_set.mirrors`. On disk: random resized crop, and the flip.
    Then normalisation, then cutout.

    Args:
        image_set: the set.
        cutout: side of the blanked square in pixels; default 0: none (DARTS retrains with 16).

    Raises:
        UsageError: `cutout` is negative.
    """
    if cutout < 0:
        raise UsageError(f"Cutout {cutout} is negative: give a side in pixels, or 0 for none.")
    size = image_set.image_size
    crop = (
        v2.RandomResizedCrop(size)
        if image_set.lazy
        else v2.RandomCrop(size, padding=max(1, (size + 4) // 8))
    )
    geometric = [crop, v2.RandomHorizontalFlip()] if image_set.mirrors else [crop]
    blank = [Cutout(cutout)] if cutout else []
    return ImageTransform(v2.Compose(geometric), v2.Compose([normalise(image_set), *blank]))


def plain(image_set: ImageSet) -> ImageTransform:
    """Return the transforms for evaluation: nothing random.

    In memory: normalisation only. On disk: resize, centre crop, normalisation.
    """
    sample = fit(image_set.image_size) if image_set.lazy else None
    return ImageTransform(sample, normalise(image_set))


def normalise(image_set: ImageSet) -> Callable[[Tensor], Tensor]:
    """Return the map from uint8 to float32 of mean 0 and standard deviation 1 a channel."""
    steps = [
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(list(image_set.mean), list(image_set.std), inplace=True),
    ]
    transform: Callable[[Tensor], Tensor] = v2.Compose(steps)
    return transform


def fit(size: int) -> Callable[[Tensor], Tensor]:
    """Return the resize and centre crop to `[C, size, size]`, ImageNet's 224 of 256."""
    transform: Callable[[Tensor], Tensor] = v2.Compose(
        [v2.Resize(round(size * 256 / 224)), v2.CenterCrop(size)]
    )
    return transform
