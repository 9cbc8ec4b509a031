"""From uint8 images to what a network receives: augmentation, scaling, normalisation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from nasp.domains.images.image_set import ImageSet
from nasp.domains.images.sizing import sized, with_margin
from nasp.errors import UsageError

_DRAWN = 2**31
"""Numbers are drawn below this, then taken modulo their range: even but for one in 10**7."""


@dataclass(frozen=True)
class ImageTransform:
    """What is done to images on their way to the network.

    Images from disk are first brought to one size, each alone, by the process that reads them
    (`sample`). All else is done to a batch at once, on the device where it lies. What is random in
    that was drawn before, on the CPU (`draw`): so a batch is the same on every device.

    Attributes:
        sample: uint8 `[C, h, w]` to uint8 `[C, H, W]`; may draw from PyTorch's global CPU
            generator and from no other. None: the images have their size.
        mean: float32 `[C, 1, 1]`, on the scale 0..1.
        std: likewise.
        padding: pixels of zeros around an image before it is cropped to its size; 0: no crop.
        mirrors: whether every second image is mirrored.
        cutout: side in pixels of the blanked square; 0: none.
    """

    sample: Callable[[Tensor], Tensor] | None
    mean: Tensor
    std: Tensor
    padding: int = 0
    mirrors: bool = False
    cutout: int = 0

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor | None:
        """Draw what is random for a batch of the shape `[B, C, H, W]`; None if nothing is.

        Returns:
            int64 `[5, B]` on the CPU: rows and columns that the crop begins at in the padded
            image, 1 for mirrored images, and rows and columns of the blanked squares' centres.
        """
        if not (self.padding or self.mirrors or self.cutout):
            return None
        offsets = 2 * self.padding + 1
        ranges = torch.tensor([offsets, offsets, 1 + self.mirrors, *shape[-2:]])
        return torch.randint(_DRAWN, (5, shape[0]), generator=generator) % ranges[:, None]

    def __call__(self, images: Tensor, draws: Tensor | None = None) -> Tensor:
        """Transform uint8 `[B, C, H, W]` to float32 of the same shape, all on one device.

        Args:
            images: of one size.
            draws: what `draw` returned; None: nothing random is done.
        """
        if draws is None:
            return self._normalise(images)
        top, left, mirrored, row, column = draws
        if self.padding:
            images = crop(images, top, left, self.padding)
        if self.mirrors:
            images = mirror(images, mirrored)
        x = self._normalise(images)
        return cut_out(x, row, column, self.cutout) if self.cutout else x

    def to(self, device: torch.device) -> ImageTransform:
        """Return the same for batches on this device."""
        return replace(self, mean=self.mean.to(device), std=self.std.to(device))

    def _normalise(self, images: Tensor) -> Tensor:
        # One rounding an operation, as IEEE 754 has it: the same bits on every device. A division
        # by the number 255 would not do, since CUDA multiplies by its inverse.
        return images.to(torch.float32).mul_(1 / 255).sub_(self.mean).div_(self.std)


def crop(images: Tensor, top: Tensor, left: Tensor, padding: int) -> Tensor:
    """Surround images by zeros, and cut their size out of each.

    Args:
        images: `[B, C, H, W]`.
        top: int64 `[B]`, the first row that is kept of the padded image, `0 .. 2 padding`.
        left: likewise, the first column.
        padding: pixels on every side.
    """
    height, width = images.shape[-2:]
    # A view of all crops there are, `[B, C, offsets, offsets, H, W]`; one of each is copied.
    crops = F.pad(images, [padding] * 4).unfold(2, height, 1).unfold(3, width, 1)
    return crops[torch.arange(len(images), device=images.device), :, top, left]


def mirror(images: Tensor, mirrored: Tensor) -> Tensor:
    """Swap left and right in those of the images `[B, C, H, W]` where `[B]` is not 0."""
    return torch.where(mirrored.bool()[:, None, None, None], images.flip(-1), images)


def cut_out(x: Tensor, row: Tensor, column: Tensor, side: int) -> Tensor:
    """Set one square of each image to 0 (DeVries and Taylor, 2017).

    Meant for normalised images, where 0 is the mean. The square may hang over the border.

    Args:
        x: `[B, C, H, W]`.
        row: int64 `[B]`, of the square's centre.
        column: likewise.
        side: of the square, in pixels.
    """
    rows = _inside(x.shape[-2], row, side)
    columns = _inside(x.shape[-1], column, side)
    # Times 0 and not masked_fill, which takes some three times as long on a CPU.
    return x * ~(rows[:, None, :, None] & columns[:, None, None, :])


def _inside(length: int, centre: Tensor, side: int) -> Tensor:
    offset = torch.arange(length, device=centre.device) - (centre[:, None] - side // 2)
    return (offset >= 0) & (offset < side)


def augmentation(image_set: ImageSet, cutout: int = 0) -> ImageTransform:
    """Return the usual training transforms of a set.

    In memory: random crop after zero padding by an eighth of the side, rounded (CIFAR's 4 of 32,
    1 for the 8x8 digits, and for Fashion-MNIST's 28 the 4 of Zhong et al., 2017), and a
    horizontal flip where `image_set.mirrors`. On disk: random resized crop, and the flip.
    Then normalisation, then cutout, its centre uniform over the pixels.

    Args:
        image_set: the set.
        cutout: side of the blanked square in pixels; default 0: none (DARTS retrains with 16).

    Raises:
        UsageError: `cutout` is negative.
    """
    if cutout < 0:
        raise UsageError(f"Cutout {cutout} is negative: give a side in pixels, or 0 for none.")
    size = image_set.image_size
    return ImageTransform(
        v2.RandomResizedCrop(size) if image_set.lazy else None,
        *_statistics(image_set),
        padding=0 if image_set.lazy else max(1, (size + 4) // 8),
        mirrors=image_set.mirrors,
        cutout=cutout,
    )


def plain(image_set: ImageSet) -> ImageTransform:
    """Return the transforms for evaluation: nothing random.

    In memory: normalisation only. On disk: resize, centre crop, normalisation.
    """
    sample = fit(image_set.image_size) if image_set.lazy else None
    return ImageTransform(sample, *_statistics(image_set))


def fit(size: int) -> Callable[[Tensor], Tensor]:
    """Return the resize and centre crop to `[C, size, size]`, ImageNet's 224 of 256."""
    return partial(_fitted, size=size)


def _fitted(image: Tensor, size: int) -> Tensor:
    return sized(image[None], with_margin(size), size)[0]


def _statistics(image_set: ImageSet) -> tuple[Tensor, Tensor]:
    mean, std = torch.tensor([image_set.mean, image_set.std])[:, :, None, None]
    return mean, std
