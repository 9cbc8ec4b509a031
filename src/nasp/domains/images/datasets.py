"""The image sets that are known by name."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits
from torch import Tensor
from torchvision.datasets import CIFAR10, CIFAR100, FashionMNIST

from nasp.domains.images.folder import load_files
from nasp.domains.images.image_set import ImageSet, LabelledImages, channel_statistics
from nasp.domains.images.splits import hold_out_fifth
from nasp.domains.root import default_root
from nasp.errors import NaspError, UsageError, unknown_name
from nasp.runs.files import write_atomic

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")  # package dataset-fashion-mnist


def load_images(
    data: str,
    root: Path | None = None,
    *,
    image_size: int | None = None,
    **of_files: Any,
) -> ImageSet:
    """Load an image set by name.

    Args:
        data: `digits` (in scikit-learn: 1,797 images of 8x8, a fixed fifth of each class for
            the test), `cifar10`, `cifar100`, `fashion-mnist` (fetched on first use),
            `folder:DIR` or `csv:FILE` (see `nasp.domains.images.folder.load_files`).
        root: where fetched files lie; default: the environment variable NASP_DATA, or else
            ~/.cache/nasp.
        image_size: of files only; side in pixels.
        of_files: see `load_files`.

    Raises:
        UsageError: the name is unknown, or the folder is not laid out as it should be.
        NaspError: files are missing and cannot be fetched, or are damaged.
    """
    kind, _, path = data.partition(":")
    if kind in ("folder", "csv") and path:
        return load_files(data, image_size=image_size, **of_files)
    if data not in _READERS:
        raise unknown_name("data", data, IMAGE_SETS)
    if image_size is not None:
        raise UsageError(f"'{data}' has one image size: leave the image size out.")
    return _READERS[data](root or default_root())


def _digits(_root: Path) -> ImageSet:
    bunch = load_digits()
    # The 17 levels 0..16 spread over the whole of uint8, so that digits are like any other set.
    images = (torch.from_numpy(bunch.images) * (255 / 16)).round().to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(bunch.target).long()
    train, test = hold_out_fifth(labels)
    return _image_set(
        "digits",
        LabelledImages(images[train], labels[train]),
        LabelledImages(images[test], labels[test]),
        [str(name) for name in bunch.target_names],
        mirrors=False,
    )


def _cifar10(root: Path) -> ImageSet:
    return _fetched("cifar10", CIFAR10, root, "cifar-10-python.tar.gz")


def _cifar100(root: Path) -> ImageSet:
    return _fetched("cifar100", CIFAR100, root, "cifar-100-python.tar.gz")


def _fashion_mnist(root: Path) -> ImageSet:
    raw = root / "FashionMNIST" / "raw"
    if not raw.exists() and DEBIAN_FASHION_MNIST.is_dir():
        for packed in sorted(DEBIAN_FASHION_MNIST.glob("*-ubyte.gz")):
            _unpack(packed, raw / packed.stem)
    return _fetched("fashion-mnist", FashionMNIST, root, "FashionMNIST/raw/*-ubyte.gz")


def _fetched(name: str, reader: Any, root: Path, files: str) -> ImageSet:
    """Read a set by its torchvision class, which downloads only what is missing."""
    try:
        try:
            parts = [reader(root, train=train) for train in (True, False)]
        except RuntimeError:  # torchvision's word for missing or incomplete
            parts = [reader(root, train=train, download=True) for train in (True, False)]
    # Network, disk, checksums and unpacking each fail in their own way (RuntimeError, OSError,
    # EOFError, ValueError, UnpicklingError, ...); for the user all are one.
    except Exception as error:
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise NaspError(
            f"Cannot read '{name}' from {root} nor fetch it ({reason}):"
            f" put {files} there, or set NASP_DATA to the folder that holds it."
        ) from error
    train, test = (LabelledImages(_images(p.data), torch.as_tensor(p.targets)) for p in parts)
    return _image_set(name, train, test, parts[0].classes)


def _images(data: Any) -> Tensor:
    """Bring `[N, H, W]` or `[N, H, W, C]` to `[N, C, H, W]`."""
    images = torch.as_tensor(data)
    return images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()


def _unpack(packed: Path, target: Path) -> None:
    with gzip.open(packed) as source:
        write_atomic(target, lambda stream: shutil.copyfileobj(source, stream))


def _image_set(
    name: str,
    train: LabelledImages,
    test: LabelledImages,
    classes: list[str],
    *,
    mirrors: bool = True,
) -> ImageSet:
    assert isinstance(train.images, Tensor)
    mean, std = channel_statistics(train.images)
    _, channels, _, size = train.images.shape
    return ImageSet(name, train, test, tuple(classes), channels, size, mean, std, mirrors)


_READERS: dict[str, Callable[[Path], ImageSet]] = {
    "digits": _digits,
    "cifar10": _cifar10,
    "cifar100": _cifar100,
    "fashion-mnist": _fashion_mnist,
}
IMAGE_SETS = (*_READERS, "folder:DIR", "csv:FILE")
"""What `load_images` knows by name."""
