"""A set of labelled images, wherever they lie: in memory as one tensor, or on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from nasp.domains.images.splits_file import Splits

Statistics = tuple[tuple[float, ...], tuple[float, ...]]


class Shape(NamedTuple):
    """What a data set asks of a network."""

    in_channels: int
    image_size: int
    classes: int


SHAPES = {
    "digits": Shape(1, 8, 10),
    "cifar10": Shape(3, 32, 10),
    "cifar100": Shape(3, 32, 100),
    "fashion-mnist": Shape(1, 28, 10),
}
"""The data sets whose shape is known before they are read."""


class LazyImages(Protocol):
    """Images that stay on disk: each `[i]` decodes one, uint8 `[C, h, w]`, of any height and width.

    Implementations must pickle, because worker processes read them.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Tensor: ...


@dataclass(frozen=True)
class LabelledImages:
    """One part (training, validation or test) of an image set.

    Attributes:
        images: uint8 `[N, C, H, W]` in memory, or `LazyImages` of length N.
        labels: int64 `[N]`, each in `0 .. classes - 1`.
    """

    images: Tensor | LazyImages
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ImageSet:
    """A data set for image classification.

    Attributes:
        name: the name that it was loaded by.
        train: the training part; the search splits it in halves.
        test: the test part, looked at once, at the end of a training.
        classes: class names, in the order of the labels.
        in_channels: 1 for grey, 3 for RGB.
        image_size: height and width, in pixels, that a network receives.
        mean: per channel mean of the training images, on the scale 0..1.
        std: per channel standard deviation of the training images, on the scale 0..1.
        mirrors: whether a mirrored image still belongs to its class (a digit does not).
        val: the part to choose by, where the data have one.
        held_out: else images of the training part to choose by, int64; None: a tenth of it.
        splits: the names of the files, where the set was read from files.
    """

    name: str
    train: LabelledImages
    test: LabelledImages
    classes: tuple[str, ...]
    in_channels: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mirrors: bool = True
    val: LabelledImages | None = None
    held_out: Tensor | None = None
    splits: Splits | None = None

    @property
    def lazy(self) -> bool:
        """Whether the images stay on disk and are decoded batch by batch."""
        return not isinstance(self.train.images, Tensor)


def channel_statistics(images: Tensor) -> Statistics:
    """Return the exact per channel mean and standard deviation, on the scale 0..1.

    Args:
        images: uint8 `[N, C, H, W]`, N at least 1.

    A channel without any variation gets the standard deviation 1, so that it can be divided by.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, stds = [], []
    for channel in images.unbind(1):
        # Counted by level, since a float copy of the images would take 600 MB for CIFAR.
        share = torch.bincount(channel.flatten(), minlength=256).double() / channel.numel()
        mean = (share * levels).sum()
        std = (share * (levels - mean) ** 2).sum().sqrt()
        means.append(mean.item())
        stds.append(std.item() if std > 1e-6 else 1.0)
    return tuple(means), tuple(stds)
