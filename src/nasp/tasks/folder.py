"""Image sets from folders: DIR/train/<class>/*.jpg, and DIR/test or DIR/val beside it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torchvision.datasets import ImageFolder
from torchvision.datasets.folder import IMG_EXTENSIONS, pil_loader
from torchvision.io import ImageReadMode, decode_image, read_file
from torchvision.transforms.v2.functional import pil_to_tensor

from nasp.errors import NaspError, UsageError
from nasp.tasks.augment import fit
from nasp.tasks.image_set import ImageSet, LabelledImages, Statistics, channel_statistics
from nasp.tasks.splits import split

Progress = Callable[[int, int], None]

MEMORY_LIMIT = 2 * 2**30  # bytes of decoded images, training and test together
LAZY_SIZE = 224
TEST_SEED = 0  # fixed: the test part must not follow the seed of a run
_STATISTICS_SAMPLE = 256
_CHUNK = 256
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
        kept, test = split(labels, [0.8, 0.2], TEST_SEED)
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


def read_image(path: str) -> Tensor:
    """Decode one image file to uint8 RGB `[3, h, w]`.

    Raises:
        NaspError: the file is damaged, is no image, or cannot be read.
    """
    try:
        # torchvision's decoder takes a third of Pillow's time for small files, but knows
        # fewer formats; Pillow knows the rest, and says better what is wrong.
        image: Tensor = decode_image(read_file(path), ImageReadMode.RGB)
    except RuntimeError:
        try:
            image = pil_to_tensor(pil_loader(path))
        except Exception as error:  # Pillow's plugins raise whatever damaged bytes lead to
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise NaspError(
                f"Cannot read the image {path}: {reason}. Replace the file or remove it."
            ) from error
    return image


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


class _OtherSizeError(Exception):
    """An image has another size than the first."""


def _decode_all(
    paths: list[str], image_size: int | None, progress: Progress | None
) -> Tensor | None:
    """Return uint8 `[N, 3, S, S]`, or None if the images must stay on disk."""
    shape = read_image(paths[0]).shape
    square = shape[1] == shape[2] and image_size in (None, shape[1])
    if not square or len(paths) * shape.numel() > MEMORY_LIMIT:
        return None
    images = torch.empty((len(paths), *shape), dtype=torch.uint8)

    def fill(chunk: range) -> int:
        for i in chunk:
            image = read_image(paths[i])
            if image.shape != shape:
                raise _OtherSizeError
            images[i] = image
        return len(chunk)

    done = 0
    try:
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            for count in pool.map(fill, _chunks(len(paths))):
                done += count
                if progress is not None:
                    progress(done, len(paths))
    except _OtherSizeError:
        return None
    return images


def _chunks(length: int) -> Iterator[range]:
    whole = range(length)
    return (whole[start : start + _CHUNK] for start in range(0, length, _CHUNK))


def _estimate_statistics(train: LabelledImages, size: int) -> Statistics:
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(train), generator=generator)[:_STATISTICS_SAMPLE]
    to_size = fit(size)
    return channel_statistics(torch.stack([to_size(train.images[i]) for i in chosen.tolist()]))
