"""Image sets from files: listed, looked at, divided, and read into memory where they fit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import torch
from torch import Tensor

from nasp.domains.images.csv_file import list_csv
from nasp.domains.images.decode import opened
from nasp.domains.images.decoded import LAZY_SIZE, fits, labels_of, read_parts, statistics
from nasp.domains.images.image_set import ImageSet
from nasp.domains.images.inspection import inspect
from nasp.domains.images.layouts import Listing, list_folder
from nasp.domains.images.splits import hold_out_fifth, hold_out_tenth
from nasp.domains.images.splits_file import Splits
from nasp.errors import UsageError
from nasp.training.events import Noted, Observer, nobody

_LOOKED_AT = 256


def base_of(name: str) -> Path:
    """Return the folder that the files of ``folder:DIR`` or ``csv:FILE`` are named from."""
    place = place_of(name)
    return place.parent if name.startswith("csv:") else place


def place_of(name: str) -> Path:
    """Return the folder or file that ``folder:DIR`` or ``csv:FILE`` names."""
    return Path(os.path.expanduser(name.partition(":")[2]))


def load_files(
    name: str,
    *,
    image_size: int | None = None,
    csv_columns: str | None = None,
    split_seed: int = 0,
    skip_bad: bool = False,
    splits: Path | None = None,
    observe: Observer = nobody,
) -> ImageSet:
    """Read the images of ``folder:DIR`` or ``csv:FILE``; they become RGB.

    Images of one square size that fit in `MEMORY_LIMIT` are decoded at once. Others stay on
    disk, and each batch decodes its own; mean and standard deviation are then estimated from
    256 training images. Without a part ``test``, a fifth of each class of the training part becomes
    it.

    Args:
        name: ``folder:DIR`` (see `list_folder`) or ``csv:FILE`` (see `list_csv`).
        image_size: side in pixels that the network receives; default: the images' own if they
            are in memory, else 224. Another size than their own keeps them on disk.
        csv_columns: see `list_csv`.
        split_seed: of what is held out.
        skip_bad: go on without what cannot be used; see `inspect`.
        splits: a file of `Splits` that is followed; default: the files are listed and divided.
        observe: is told how far the reading is, and what a person should know of the images.

    Raises:
        UsageError: folders or lines are not as they should be, or `image_size` is below 1.
        NaspError: an image is damaged; or one that `splits` names is gone.
    """
    if image_size is not None and image_size < 1:
        raise UsageError(f"Image size {image_size} is not possible: give a side in pixels.")
    listing, followed = _listed(name, csv_columns, splits)
    seen = inspect(listing, observe, skip_bad, is_known=followed is not None)
    numbers = {label: number for number, label in enumerate(listing.classes)}
    if "test" not in listing.parts:
        _divide(listing, numbers, split_seed)
        test, train = len(listing.parts["test"]), len(listing.parts["train"])
        observe(Noted(f"No part test: {test} images are held out as one, {train} are left."))
    if followed is None:
        followed = _divided(listing, numbers, split_seed, seen.bad)
    parts, size = read_parts(listing, numbers, image_size, set(seen.sizes), observe)
    counts = ", ".join(f"{len(files)} {part}" for part, files in listing.parts.items())
    observe(Noted(f"{len(numbers)} classes, {size}×{size} pixels; images: {counts}."))
    mean, std = statistics(parts["train"], size)
    return ImageSet(
        name,
        parts["train"],
        parts["test"],
        tuple(numbers),
        3,
        size,
        mean,
        std,
        val=parts.get("val"),
        held_out=_places(listing, followed.held_out),
        splits=followed,
    )


def likely_side(name: str, csv_columns: str | None = None) -> int:
    """Return the side that a network will receive, by the headers of a few hundred images.

    Args:
        name: ``folder:DIR`` or ``csv:FILE``; nothing of `load_files` but `csv_columns` is given.
        csv_columns: see `list_csv`.

    Raises:
        UsageError: folders or lines are not as they should be.
    """
    listing, _ = _listed(name, csv_columns, None)
    files = [file for part in listing.parts.values() for file in part]
    sizes = set()
    for file in files[:: max(1, len(files) // _LOOKED_AT)]:
        # What is no image is told of when all are read.
        with suppress(Exception), opened(listing.base / file.name) as image:
            sizes.add(image.size)
        if len(sizes) > 1:
            return LAZY_SIZE
    width, height = next(iter(sizes), (LAZY_SIZE, LAZY_SIZE))
    return width if width == height and fits(len(files), width) else LAZY_SIZE


def _listed(name: str, columns: str | None, splits: Path | None) -> tuple[Listing, Splits | None]:
    if splits is not None:
        followed = Splits.read(splits)
        return followed.listing(base_of(name)), followed
    if name.startswith("csv:"):
        return list_csv(place_of(name), columns), None
    return list_folder(base_of(name)), None


def _divide(listing: Listing, numbers: Mapping[str, int], seed: int) -> None:
    """Make a part ``test`` of a fifth of the part ``train``."""
    files = listing.parts["train"]
    both = hold_out_fifth(labels_of(files, numbers), seed)
    for part, places in zip(("train", "test"), both, strict=True):
        listing.parts[part] = [files[place] for place in places.tolist()]


def _divided(
    listing: Listing, numbers: Mapping[str, int], seed: int, bad: Mapping[str, str]
) -> Splits:
    if "val" in listing.parts:
        return Splits.of(listing, None, bad)
    files = listing.parts["train"]
    _, held_out = hold_out_tenth(labels_of(files, numbers), seed)
    return Splits.of(listing, tuple(files[place].name for place in held_out.tolist()), bad)


def _places(listing: Listing, names: Iterable[str] | None) -> Tensor | None:
    if names is None:
        return None
    wanted = set(names)
    places = [i for i, file in enumerate(listing.parts["train"]) if file.name in wanted]
    return torch.tensor(places, dtype=torch.int64)
