"""Image files as parts of a set: decoded at once where they fit in memory, else one by one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nasp.domains.images.augment import fit
from nasp.domains.images.decode import read_image
from nasp.domains.images.image_set import LabelledImages, Statistics, channel_statistics
from nasp.domains.images.layouts import ImageFile, Listing
from nasp.errors import NaspError
from nasp.training.events import Loading, Observer

MEMORY_LIMIT = 2 * 2**30  # bytes of decoded images, all parts together
LAZY_SIZE = 224
_STATISTICS_SAMPLE = 256
_CHUNK = 256
_WORTH_WORKERS = 4000  # images; fewer are decoded before the processes are up


@dataclass(frozen=True)
class FolderImages:
    """Image files, decoded one by one on access: uint8 `[3, h, w]`."""

    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> Tensor:
        return read_image(self.paths[index])


def fits(count: int, size: int) -> bool:
    """Tell whether so many images of a size fit in `MEMORY_LIMIT`."""
    return count * 3 * size**2 <= MEMORY_LIMIT


def labels_of(files: Iterable[ImageFile], numbers: Mapping[str, int]) -> Tensor:
    """Return the numbers of the files' classes, int64 `[N]`."""
    return torch.tensor([numbers[file.label] for file in files], dtype=torch.int64)


def read_parts(
    listing: Listing,
    numbers: Mapping[str, int],
    image_size: int | None,
    sizes: Set[tuple[int, int]],
    observe: Observer,
) -> tuple[dict[str, LabelledImages], int]:
    """Return the parts, and the side that a network receives.

    Args:
        listing: the files of each part.
        numbers: class -> its number.
        image_size: the side that is asked for.
        sizes: those that images have, `(width, height)`.
        observe: is told how far the decoding is.

    Raises:
        NaspError: an image is damaged.
    """
    paths = {
        part: [str(listing.base / file.name) for file in files]
        for part, files in listing.parts.items()
    }
    everything = [path for part in paths.values() for path in part]
    images, size = None, image_size or LAZY_SIZE
    (width, height), *others = sizes
    if not others and width == height and image_size in (None, width):
        images = _decode_all(everything, width, observe)
        size = width if images is not None else size
    parts, start = {}, 0
    for part, files in listing.parts.items():
        end = start + len(files)
        of_part = FolderImages(tuple(paths[part])) if images is None else images[start:end]
        parts[part] = LabelledImages(of_part, labels_of(files, numbers))
        start = end
    return parts, size


def statistics(train: LabelledImages, size: int) -> Statistics:
    """Return mean and standard deviation of the training images; on disk of a sample of them."""
    if isinstance(train.images, Tensor):
        return channel_statistics(train.images)
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(train), generator=generator)[:_STATISTICS_SAMPLE]
    to_size = fit(size)
    return channel_statistics(torch.stack([to_size(train.images[i]) for i in chosen.tolist()]))


def _decode_all(paths: list[str], size: int, observe: Observer) -> Tensor | None:
    """Return uint8 `[N, 3, size, size]`, or None if there are too many for the memory."""
    if not fits(len(paths), size):
        return None
    images = torch.empty((len(paths), 3, size, size), dtype=torch.uint8)
    chunks = DataLoader(
        _Chunks(paths),
        batch_size=None,
        # Processes, because threads fight for Python's lock: with 32x32 JPEGs on two cores,
        # two threads took 1.5 times as long as one, two processes 0.6 times.
        num_workers=min(4, os.cpu_count() or 1) if len(paths) >= _WORTH_WORKERS else 0,
        generator=torch.Generator(),  # or it would draw from the global one
    )
    done = 0
    for chunk in chunks:
        if isinstance(chunk, NaspError):
            raise chunk
        images[done : done + len(chunk)] = chunk
        done += len(chunk)
        observe(Loading(done, len(paths)))
    return images


class _Chunks(Dataset[Tensor | NaspError]):
    """Decodes `_CHUNK` images at a time."""

    def __init__(self, paths: list[str]) -> None:
        self.paths = paths

    def __len__(self) -> int:
        return -(-len(self.paths) // _CHUNK)

    def __getitem__(self, index: int) -> Tensor | NaspError:
        # Errors are returned since a DataLoader adds the worker's traceback to raised ones.
        chosen = self.paths[index * _CHUNK : (index + 1) * _CHUNK]
        try:
            return torch.stack([read_image(path) for path in chosen])
        except NaspError as error:
            return error
