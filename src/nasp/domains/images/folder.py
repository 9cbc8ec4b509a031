"""Image sets from folders: DIR/train/<class>/*.jpg, and DIR/test or DIR/val beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS

from nasp.domains.images.augment import fit
from nasp.domains.images.decode import read_image
from nasp.domains.images.image_set import ImageSet, LabelledImages, Statistics, channel_statistics
from nasp.domains.images.splits import hold_out_fifth
from nasp.errors import NaspError, UsageError

Progress = Callable[[int, int], None]

MEMORY_LIMIT = 2 * 2**30  # bytes of decoded images, training and test together
LAZY_SIZE = 224
_STATISTICS_SAMPLE = 256
_CHUNK = 256
_WORTH_WORKERS = 4000  # images; fewer are decoded before the processes are up
_LITTER = ("thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class FolderImages:
    """Image files, decoded one by one on access: uint8 `[3, h, w]`."""

    paths: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int, /) -> Tensor:
        return read_image(self.paths[index])


def load_folder(
    folder: Path, image_size: int | None = None, progress: Progress | None = None
) -> ImageSet:
    """Read a folder of class folders; images become RGB.

    Images of one square size that fit in `MEMORY_LIMIT` are decoded at once. Others stay on
    disk, and each batch decodes its own; mean and standard deviation are then estimated from
    256 training images. Without DIR/test and DIR/val, a fifth of each class becomes the test
    part; it is the same fifth for every seed.

    Args:
        folder: DIR.
        image_size: side in pixels that the network receives; default: the images' own if they
            are in memory, else 224. Another size than their own keeps them on disk.
        progress: called with (images decoded, images in all) now and then.

    Raises:
        UsageError: DIR or its class folders are missing, a class is empty, a file is no image,
            the test classes are others than the training classes, or `image_size` is below 1.
        NaspError: an image is damaged.
    """
    if image_size is not None and image_size < 1:
        raise UsageError(f"Image size {image_size} is not possible: give a side in pixels.")
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}: give one that holds train/<class>/*.jpg.")
    if not (folder / "train").is_dir():
        raise UsageError(f"{folder} holds no folder 'train': put images in train/<class>/.")
    classes, paths, labels = _scan(folder / "train")
    held_out = next((folder / n for n in ("test", "val") if (folder / n).is_dir()), None)
    if held_out is not None:
        test_classes, test_paths, test_labels = _scan(held_out)
        if test_classes != classes:
            odd = ", ".join(f"'{name}'" for name in sorted(set(classes) ^ set(test_classes)))
            raise UsageError(
                f"{folder / 'train'} and {held_out} have different class folders:"
                f" {odd} is only in one of them."
            )
    else:
        kept, test = hold_out_fifth(labels)
        test_paths, test_labels = [paths[i] for i in test.tolist()], labels[test]
        paths, labels = [paths[i] for i in kept.tolist()], labels[kept]

    images = _decode_all([*paths, *test_paths], image_size, progress)
    if images is None:
        train = LabelledImages(FolderImages(tuple(paths)), labels)
        test_part = LabelledImages(FolderImages(tuple(test_paths)), test_labels)
        size = image_size or LAZY_SIZE
        mean, std = _estimate_statistics(train, size)
    else:
        train = LabelledImages(images[: len(paths)], labels)
        test_part = LabelledImages(images[len(paths) :], test_labels)
        size = images.shape[-1]
        mean, std = channel_statistics(images[: len(paths)])
    return ImageSet(f"folder:{folder}", train, test_part, classes, 3, size, mean, std)


def _scan(folder: Path) -> tuple[tuple[str, ...], list[str], Tensor]:
    try:
        found = ImageFolder(folder, is_valid_file=_is_image, allow_empty=True)
    except FileNotFoundError as error:
        raise UsageError(f"{folder} holds no class folders: put images in <class>/.") from error
    labels = torch.tensor(found.targets, dtype=torch.int64)
    counts = torch.bincount(labels, minlength=len(found.classes)).tolist()
    for name, count in zip(found.classes, counts, strict=True):
        if count == 0:
            raise UsageError(
                f"The class folder {folder / name} holds no images: fill or remove it."
            )
    return tuple(found.classes), [path for path, _ in found.samples], labels


def _is_image(path: str) -> bool:
    name = os.path.basename(path).lower()
    if name.startswith(".") or name in _LITTER:
        return False
    if not name.endswith(IMG_EXTENSIONS):
        raise UsageError(
            f"{path} is not an image: move it away, or give it one of the endings"
            f" {', '.join(IMG_EXTENSIONS)}."
        )
    return True


def _decode_all(
    paths: list[str], image_size: int | None, progress: Progress | None
) -> Tensor | None:
    """Return uint8 `[N, 3, S, S]`, or None if the images must stay on disk."""
    shape = read_image(paths[0]).shape
    square = shape[1] == shape[2] and image_size in (None, shape[1])
    if not square or len(paths) * shape.numel() > MEMORY_LIMIT:
        return None
    images = torch.empty((len(paths), *shape), dtype=torch.uint8)
    chunks = DataLoader(
        _Chunks(paths, shape),
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
        if chunk is None:
            return None
        images[done : done + len(chunk)] = chunk
        done += len(chunk)
        if progress is not None:
            progress(done, len(paths))
    return images


class _Chunks(Dataset[Tensor | NaspError | None]):
    """Decodes `_CHUNK` images at a time; None if one has another shape than expected."""

    def __init__(self, paths: list[str], shape: torch.Size) -> None:
        self.paths = paths
        self.shape = shape

    def __len__(self) -> int:
        return -(-len(self.paths) // _CHUNK)

    def __getitem__(self, index: int) -> Tensor | NaspError | None:
        # Errors are returned since a DataLoader adds the worker's traceback to raised ones.
        try:
            images = [read_image(p) for p in self.paths[index * _CHUNK : (index + 1) * _CHUNK]]
        except NaspError as error:
            return error
        if any(image.shape != self.shape for image in images):
            return None
        return torch.stack(images)


def _estimate_statistics(train: LabelledImages, size: int) -> Statistics:
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(train), generator=generator)[:_STATISTICS_SAMPLE]
    to_size = fit(size)
    return channel_statistics(torch.stack([to_size(train.images[i]) for i in chosen.tolist()]))
