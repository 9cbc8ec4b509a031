"""Images as a search or a training uses them: which ones, in which batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from nasp.domains.domain import DataConfig, SearchLoaders, TrainLoaders
from nasp.domains.images.augment import augmentation, plain
from nasp.domains.images.datasets import load_images
from nasp.domains.images.folder import base_of
from nasp.domains.images.image_set import SHAPES, ImageSet, LabelledImages, Shape
from nasp.domains.images.loader import Loader
from nasp.domains.images.preparation import PREPARATION, Preparation
from nasp.domains.images.splits import halves, hold_out_tenth, split
from nasp.domains.images.splits_file import SPLITS, Splits
from nasp.domains.images.task import ImageClassification
from nasp.domains.images.train import ImageTrainConfig
from nasp.training.events import Noted, Observer, nobody

if TYPE_CHECKING:
    from typing_extensions import Self

EVALUATION_BATCH = 256
UNEVEN = 2
"""A class with so many times the images of another is said."""


class ImageConfig(DataConfig):
    """Which images, and how they are fed."""

    handed_on: ClassVar[tuple[str, ...]] = (
        *DataConfig.handed_on,
        *("image_size", "csv_columns", "split_seed", "splits", "skip_bad", "balanced"),
    )

    name: str
    """digits, cifar10, cifar100, fashion-mnist, folder:DIR or csv:FILE."""
    batch_size: int = Field(64, ge=1)
    """Images a step."""
    subset: int | None = Field(None, ge=1)
    """Use only this many training images (in a search, of each half); default all."""
    cutout: int = Field(0, ge=0)
    """Side of the square cut out of each training image; 0 for none."""
    image_size: int | None = Field(None, ge=4)
    """Side to which the images of a folder are brought; default 224."""
    balanced: bool = False
    """Draw each class equally often, and choose by balanced accuracy."""
    skip_bad: bool = False
    """Go on without files that are damaged, too small or alone in their class."""
    csv_columns: str | None = None
    """Of a CSV file: path=NAME,label=NAME,split=NAME; default by their usual names or content."""
    split_seed: int = Field(0, ge=0)
    """Of the parts that are held out where a folder has none; the same for all runs to compare."""
    splits: Path | None = None
    """A splits.json that says which file is in which part; default the run's own."""

    def absolute(self) -> Self:
        """Return the same with whole paths."""
        whole = super().absolute()
        return whole.model_copy(update={"splits": self.splits and self.splits.absolute()})

    def in_run(self, run: Path) -> Self:
        """Return the same with the run's own splits, where it has some."""
        kept = run / SPLITS
        return self.model_copy(update={"splits": kept}) if kept.is_file() else self

    def moved(self, name: str) -> Self:
        """Return the same at another place; splits are of these data alone."""
        splits = self.splits
        if splits is not None and splits.is_file():
            splits = splits if Splits.read(splits).has_any(base_of(name)) else None
        return self.model_copy(update={"name": name, "splits": splits})


@dataclass(frozen=True)
class ImageData:
    """An image set that was read; see `nasp.domains.domain.Data`.

    Attributes:
        config: how it is fed.
        images: the set.
        observe: is told what is done with it.
    """

    config: ImageConfig
    images: ImageSet
    observe: Observer = nobody

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
        classes = len(self.images.classes)
        if config is None:
            return ImageClassification(classes)
        return ImageClassification(classes, config.label_smoothing, self.config.balanced)

    def search_loaders(
        self, network: nn.Module | None, device: torch.device, seed: int
    ) -> SearchLoaders:
        """Return loaders of disjoint halves of the training images.

        Those of the selection mix the classes, and what fills no batch is left out.
        """
        del network
        train, both = self.images.train, halves(self.images, seed, self.config.subset)
        batch_size = self.batch_size(len(both[1]))
        order = torch.randperm(len(both[1]), generator=torch.Generator().manual_seed(seed))
        whole = len(order) // batch_size * batch_size
        return SearchLoaders(
            self._augmented(both[0], 2 * seed, device),
            self._augmented(both[1], 2 * seed + 1, device),
            self._plain(train, device, batch_size, both[1][order[:whole]]),
        )

    def train_loaders(
        self, network: nn.Module | None, device: torch.device, seed: int
    ) -> TrainLoaders:
        """Return loaders of training images, augmented, of images to choose by, and of the test's.

        Where the data have no part to choose by, it is held out of the training images.
        """
        del network
        val, held_out, kept = self.images.val, None, None
        if val is None:
            val = train = self.images.train
            held_out = self.images.held_out
            if held_out is None:
                _, held_out = hold_out_tenth(train.labels, self.config.split_seed)
            kept = torch.ones(len(train), dtype=torch.bool).index_fill(0, held_out, False)
            kept = kept.nonzero().flatten()
            self._say(
                f"No part val: the best epoch is chosen by {len(held_out)} images that are held out"
                f" of {len(train)} for training."
            )
        return TrainLoaders(
            self.learnt(device, seed, kept),
            self._plain(val, device, indices=held_out),
            self.tested(device),
        )

    def learnt(self, device: torch.device, seed: int, kept: Tensor | None = None) -> Loader:
        """Return the loader of a training, augmented: of all training images, or those kept."""
        if self.config.subset is not None:
            labels = self.images.train.labels
            (chosen,) = split(labels if kept is None else labels[kept], [self.config.subset], seed)
            kept = chosen if kept is None else kept[chosen]
        return self._augmented(kept, seed, device)

    def tested(self, device: torch.device) -> Loader:
        """Return the loader of all test images."""
        return self._plain(self.images.test, device)

    def batch_size(self, images: int) -> int:
        """Return how many of so many images a batch has: as many as was said, where it may be less.

        Too few for one batch make four.
        """
        said = self.config.batch_size
        if images >= said or not self.config.may_shrink:
            return said
        fewer = min(max(2, images // 4), said)
        self._say(f"{images} images fill no batch of {said}: batches have {fewer}.")
        return fewer

    def _augmented(self, indices: Tensor | None, seed: int, device: torch.device) -> Loader:
        train = self.images.train
        return Loader(
            train,
            augmentation(self.images, self.config.cutout),
            batch_size=self.batch_size(len(train) if indices is None else len(indices)),
            seed=seed,
            indices=indices,
            balanced=self.config.balanced,
            workers=self.config.workers,
            device=device,
        )

    def _plain(
        self,
        part: LabelledImages,
        device: torch.device,
        batch_size: int = EVALUATION_BATCH,
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

    @cached_property
    def _say(self) -> Callable[[str], object]:
        """Tells each thing once: the networks of a training have the same loaders."""
        return cache(lambda message: self.observe(Noted(message)))

    def keep(self, run: Path) -> None:
        """Write how images are prepared, and which file is in which part.

        Raises:
            NaspError: the folder holds others, since the images have changed.
        """
        Preparation.of(self.images).write(run)
        if self.images.splits is not None:
            self.images.splits.write(run)


def read_images(config: ImageConfig, observe: Observer = nobody) -> ImageData:
    """Read the image set; `observe` is told how far that is."""
    settings: dict[str, Any] = {"observe": observe, "image_size": config.image_size}
    if ":" in config.name:
        settings |= config.model_dump(include={"csv_columns", "split_seed", "skip_bad", "splits"})
    images = load_images(config.name, config.root, **settings)
    counts = torch.bincount(images.train.labels, minlength=len(images.classes))
    if counts.max() > UNEVEN * counts.min() and not config.balanced:
        most, least = (images.classes[int(of)] for of in (counts.argmax(), counts.argmin()))
        observe(
            Noted(
                f"The classes are uneven: {int(counts.max())} training images of '{most}',"
                f" {int(counts.min())} of '{least}'. --balanced draws each equally often."
            )
        )
    return ImageData(config, images, observe)


def known_shape(config: ImageConfig, run: Path) -> Mapping[str, Any]:
    """Return the shape that a run folder keeps, or that of a set known by name; else nothing."""
    if (run / PREPARATION).is_file():
        kept = Preparation.read(run)
        return Shape(kept.in_channels, kept.image_size, len(kept.classes))._asdict()
    known = SHAPES.get(config.name)
    return {} if known is None else known._asdict()
