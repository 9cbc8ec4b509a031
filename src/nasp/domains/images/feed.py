"""Which images a search or a training sees, in which batches, and the network's size for them."""

from __future__ import annotations

from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from nasp.domains.images.augment import augmentation, plain
from nasp.domains.images.datasets import load_images
from nasp.domains.images.image_set import ImageSet
from nasp.domains.images.loader import Loader
from nasp.domains.images.splits import halves, split
from nasp.spaces import NetworkConfig
from nasp.training.events import Loading, Observer, nobody

EVALUATION_BATCH = 256


class DataConfig(BaseModel):
    """Which images, and how they are fed."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: str
    """digits, cifar10, cifar100, fashion-mnist or folder:DIR."""
    root: Path | None = None
    """Where data sets lie; default $NASP_DATA, else ~/.cache/nasp."""
    batch_size: int = Field(64, ge=1)
    """Images a step."""
    subset: int | None = Field(None, ge=1)
    """Use only this many training images (in a search, of each half); default all."""
    cutout: int = Field(0, ge=0)
    """Side of the square that is cut out of each training image; 0 for none."""
    image_size: int | None = Field(None, ge=4)
    """Side to which the images of a folder are brought; default 224."""
    workers: int = Field(2, ge=0)
    """Processes that read images which do not fit in memory."""


def read_images(data: DataConfig, observe: Observer = nobody) -> ImageSet:
    """Read the image set; `observe` is told how far that is."""
    return load_images(
        data.name,
        data.root,
        image_size=data.image_size,
        progress=lambda done, total: observe(Loading(done, total)),
    )


def search_loaders(images: ImageSet, data: DataConfig, seed: int) -> tuple[Loader, Loader]:
    """Return the loader for the weights and that for the alphas, of disjoint halves.

    Args:
        images: only the training part is used.
        data: how it is fed; `subset` is the size of each half.
        seed: of the split, the order and the augmentation.
    """
    weights, alphas = (
        Loader(
            images.train,
            augmentation(images, data.cutout),
            batch_size=data.batch_size,
            seed=2 * seed + index,
            indices=half,
            workers=data.workers,
        )
        for index, half in enumerate(halves(images, seed, data.subset))
    )
    return weights, alphas


def selection_loader(images: ImageSet, data: DataConfig, seed: int) -> Loader:
    """Return a loader of the alphas' half as it is, each pass the same, to measure on.

    Its batches are as large as the search's and mix the classes; what fills none is left out.
    """
    half = halves(images, seed, data.subset)[1]
    order = torch.randperm(len(half), generator=torch.Generator().manual_seed(seed))
    return Loader(
        images.train,
        plain(images),
        batch_size=data.batch_size,
        indices=half[order[: len(half) // data.batch_size * data.batch_size]],
        training=False,
        workers=data.workers,
    )


def training_loaders(images: ImageSet, data: DataConfig, seed: int) -> tuple[Loader, Loader]:
    """Return the loader of training images, augmented, and that of all test images.

    Args:
        images: both parts are used.
        data: how they are fed; `subset` training images, or all.
        seed: of the subset, the order and the augmentation.
    """
    chosen = None
    if data.subset is not None:
        chosen = split(images.train.labels, [data.subset], seed)[0]
    train = Loader(
        images.train,
        augmentation(images, data.cutout),
        batch_size=data.batch_size,
        seed=seed,
        indices=chosen,
        workers=data.workers,
    )
    test = Loader(
        images.test,
        plain(images),
        batch_size=EVALUATION_BATCH,
        training=False,
        workers=data.workers,
    )
    return train, test


def network_config(
    images: ImageSet,
    channels: int,
    cells: int,
    drop_path: bool = False,
    partial_channels: int = 1,
) -> NetworkConfig:
    """Return the size of a network for an image set: from 128 pixels on, with ImageNet's stem."""
    return NetworkConfig(
        in_channels=images.in_channels,
        image_size=images.image_size,
        classes=len(images.classes),
        channels=channels,
        cells=cells,
        stem="imagenet" if images.image_size >= 128 else "cifar",
        drop_path=drop_path,
        partial_channels=partial_channels,
    )


def fast_layout(network: nn.Module) -> nn.Module:
    """Return the network in the memory layout in which it runs fastest."""
    # Measured on CPU: depthwise and small convolutions run about twice as fast channels-last.
    laid_out: nn.Module = network.to(memory_format=torch.channels_last)
    return laid_out
