"""Images as a search or a training uses them: which ones, in which batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from nasp.domains.domain import DataConfig, SearchLoaders, TrainLoaders
from nasp.domains.images.augment import augmentation, plain
from nasp.domains.images.datasets import load_images
from nasp.domains.images.image_set import SHAPES, ImageSet, LabelledImages, Shape
from nasp.domains.images.loader import Loader
from nasp.domains.images.preparation import PREPARATION, Preparation
from nasp.domains.images.splits import halves, split
from nasp.domains.images.task import ImageClassification
from nasp.domains.images.train import ImageTrainConfig
from nasp.training.events import Loading, Observer, nobody

EVALUATION_BATCH = 256


class ImageConfig(DataConfig):
    """Which images, and how they are fed."""

    handed_on: ClassVar[tuple[str, ...]] = (*DataConfig.handed_on, "image_size")

    name: str
    """digits, cifar10, cifar100, fashion-mnist or folder:DIR."""
    batch_size: int = Field(64, ge=1)
    """Images a step."""
    subset: int | None = Field(None, ge=1)
    """Use only this many training images (in a search, of each half); default all."""
    cutout: int = Field(0, ge=0)
    """Side of the square cut out of each training image; 0 for none."""
    image_size: int | None = Field(None, ge=4)
    """Side to which the images of a folder are brought; default 224."""


@dataclass(frozen=True)
class ImageData:
    """An image set that was read; see `nasp.domains.domain.Data`.

    Attributes:
        config: how it is fed.
        images: the set.
    """

    config: ImageConfig
    images: ImageSet

    @property
    def shape(self) -> Mapping[str, Any]:
        """Channels and side of an image, and the number of classes."""
        return {
            "in_channels": self.images.in_channels,
            "image_size": self.images.image_size,
            "classes": len(self.images.classes),
        }

    def task(self, config: ImageTrainConfig | None = None) -> ImageClassification:
        """Return classification, its labels as smooth as a training wants them."""
        smoothing = 0.0 if config is None else config.label_smoothing
        return ImageClassification(len(self.images.classes), smoothing)

    def search_loaders(
        self, network: nn.Module | None, device: torch.device, seed: int
    ) -> SearchLoaders:
        """Return loaders of disjoint halves of the training images.

        Those of the selection mix the classes, and what fills no batch is left out.
        """
        del network
        config, train = self.config, self.images.train
        both = halves(self.images, seed, config.subset)
        order = torch.randperm(len(both[1]), generator=torch.Generator().manual_seed(seed))
        whole = len(order) // config.batch_size * config.batch_size
        return SearchLoaders(
            self._augmented(both[0], 2 * seed, device),
            self._augmented(both[1], 2 * seed + 1, device),
            self._plain(train, config.batch_size, device, both[1][order[:whole]]),
        )

    def train_loaders(
        self, network: nn.Module | None, device: torch.device, seed: int
    ) -> TrainLoaders:
        """Return the loader of training images, augmented, and that of all test images."""
        del network
        chosen = None
        if self.config.subset is not None:
            chosen = split(self.images.train.labels, [self.config.subset], seed)[0]
        return TrainLoaders(
            self._augmented(chosen, seed, device),
            self._plain(self.images.test, EVALUATION_BATCH, device),
        )

    def _augmented(self, indices: Tensor | None, seed: int, device: torch.device) -> Loader:
        return Loader(
            self.images.train,
            augmentation(self.images, self.config.cutout),
            batch_size=self.config.batch_size,
            seed=seed,
            indices=indices,
            workers=self.config.workers,
            device=device,
        )

    def _plain(
        self,
        part: LabelledImages,
        batch_size: int,
        device: torch.device,
        indices: Tensor | None = None,
    ) -> Loader:
        return Loader(
            part,
            plain(self.images),
            batch_size=batch_size,
            indices=indices,
            training=False,
            workers=self.config.workers,
            device=device,
        )

    def keep(self, run: Path) -> None:
        """Write how images are prepared; see `Preparation.write`."""
        Preparation.of(self.images).write(run)


def read_images(config: ImageConfig, observe: Observer = nobody) -> ImageData:
    """Read the image set; `observe` is told how far that is."""

    def tell(done: int, total: int) -> None:
        observe(Loading(done, total))

    images = load_images(
        config.name,
        config.root,
        image_size=config.image_size,
        progress=tell,
    )
    return ImageData(config, images)


def known_shape(config: ImageConfig, run: Path) -> Mapping[str, Any]:
    """Return the shape that a run folder keeps, or that of a set known by name; else nothing."""
    if (run / PREPARATION).is_file():
        kept = Preparation.read(run)
        return Shape(kept.in_channels, kept.image_size, len(kept.classes))._asdict()
    known = SHAPES.get(config.name)
    return {} if known is None else known._asdict()
