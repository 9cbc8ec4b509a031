"""How a run prepares its images, as its folder keeps it: enough to use its network without data."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal

import torch
from PIL import Image
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from nasp.domains.images import decode
from nasp.domains.images.augment import ImageTransform
from nasp.domains.images.image_set import ImageSet
from nasp.domains.images.sizing import sized, with_margin
from nasp.errors import NaspError, UsageError, validated
from nasp.runs.files import write_text_atomic
from nasp.runs.folder import json_object

PREPARATION = "images.json"
"""The file of a run folder that holds it."""

_CLOSE = 1e-3
"""Means and deviations that differ less are of the same images: decoders differ that much."""


class Preparation(BaseModel):
    """What a network was told of its images, and what is done to one before it reads it.

    Attributes:
        classes: their names, in the order of the network's outputs.
        in_channels: 1 for grey, 3 for RGB.
        image_size: height and width that the network reads.
        mean: per channel, on the scale 0..1.
        std: likewise.
        fit: how an image comes to its size. ``margin``: the shorter side is resized to 256/224 of
            `image_size`, then the middle is cut out. ``whole``: the run's images had that size;
            others are resized so that the shorter side has it, then the middle is cut out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    classes: tuple[str, ...]
    in_channels: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fit: Literal["whole", "margin"]

    @staticmethod
    def of(images: ImageSet) -> Preparation:
        """Return that of an image set."""
        return Preparation(
            classes=images.classes,
            in_channels=images.in_channels,
            image_size=images.image_size,
            mean=images.mean,
            std=images.std,
            fit="margin" if images.lazy else "whole",
        )

    @staticmethod
    def read(run: Path) -> Preparation:
        """Return that of a run.

        Raises:
            UsageError: its folder has none, since it is not about images or not that far.
            NaspError: the file is damaged.
        """
        path = run / PREPARATION
        if not path.is_file():
            raise UsageError(
                f"{run} has no {PREPARATION}: it is not about images, or its images were not read"
                " yet."
            )
        return validated(Preparation, json_object(path), str(path))

    def write(self, run: Path) -> None:
        """Write it into a run folder.

        Raises:
            NaspError: the folder holds another, since the images have changed.
        """
        path = run / PREPARATION
        if not path.is_file():
            write_text_atomic(path, self.model_dump_json(indent=1) + "\n")
        elif not self.agrees(Preparation.read(run)):
            raise NaspError(
                f"The images have changed since the run in {run} was begun: they are not as its"
                f" {PREPARATION} says. Bring them back, or begin a new run."
            )

    def agrees(self, other: Preparation) -> bool:
        """Tell whether both are of the same images, but for the last bits of their statistics."""
        ours, theirs = (torch.tensor([each.mean, each.std]) for each in (self, other))
        same = self.model_copy(update={"mean": other.mean, "std": other.std}) == other
        return same and torch.allclose(ours, theirs, rtol=0, atol=_CLOSE)

    def pixels(self, image: Image.Image | Tensor | str | Path) -> Tensor:
        """Return an image as uint8 `[C, S, S]`, brought to the size that the network reads.

        Args:
            image: as Pillow opens it, a file, or uint8 `[C, h, w]`; one channel stands for three.

        Raises:
            NaspError: the file is damaged, or is no image.
            UsageError: a tensor of another type or number of channels.
        """
        if isinstance(image, str | Path):
            image = decode.read_image(image, self.in_channels)
        elif isinstance(image, Image.Image):
            image = decode.pixels(image, self.in_channels)
        if image.dtype != torch.uint8 or image.ndim != 3:
            raise UsageError(
                f"An image of shape {list(image.shape)} and type {image.dtype} is none that can be"
                " read: give [C, height, width] of torch.uint8."
            )
        if len(image) not in (1, self.in_channels):
            raise UsageError(
                f"The image has {len(image)} channels, and the network reads {self.in_channels}."
            )
        image = image.expand(self.in_channels, -1, -1)
        return sized(image[None], self.short, self.image_size)[0]

    def tensor(self, image: Image.Image | Tensor | str | Path) -> Tensor:
        """Return what the network reads, float32 `[C, S, S]`, the very bits of its evaluation.

        Args:
            image: see `pixels`.
        """
        return self.transform(self.pixels(image)[None])[0]

    @cached_property
    def transform(self) -> ImageTransform:
        """What is done to batches of images of the right size, uint8 `[B, C, S, S]`."""
        mean, std = torch.tensor([self.mean, self.std])[:, :, None, None]
        return ImageTransform(None, mean, std)

    @property
    def short(self) -> int:
        """The length to which an image's shorter side is brought, before the middle is cut out."""
        return with_margin(self.image_size) if self.fit == "margin" else self.image_size
