"""Which image files there are, of which class and in which part: as folders say, or a CSV file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from nasp.errors import UsageError

PARTS: Mapping[str, tuple[str, ...]] = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
"""The parts of a set, and what people call them."""
_NO_CLASS = ("__macosx",)
_LITTER = ("thumbs.db", "desktop.ini")


class ImageFile(NamedTuple):
    """A file and the class that it belongs to.

    Attributes:
        name: path from the folder of the data, with slashes.
        label: name of the class.
    """

    name: str
    label: str


@dataclass
class Listing:
    """What is there, before any file was opened.

    Attributes:
        base: the folder that names are relative to.
        source: what the user named: the same folder, or a file in it.
        parts: the files of each part that there is, ordered by class, then name.
        empty: class folders without a file.
        loose: how many files lie beside the class folders.
    """

    base: Path
    source: Path
    parts: dict[str, list[ImageFile]]
    empty: list[str] = field(default_factory=list)
    loose: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the training part, in the order of their numbers."""
        return tuple(sorted({file.label for file in self.parts["train"]}))


def list_folder(base: Path) -> Listing:
    """List DIR/train/CLASS/..., with or without DIR/val and DIR/test, or DIR/CLASS/... .

    Hidden files and folders are passed over; files may lie in folders within that of the class.

    Raises:
        UsageError: there is no such folder, no training part, or no class folders.
    """
    if not base.is_dir():
        what = "is no folder" if base.exists() else "is not there"
        raise UsageError(
            f"There is no folder {base} (it {what}): give one that holds train/CLASS/*.jpg,"
            " or CLASS/*.jpg."
        )
    folders = {part: _named(base, names) for part, names in PARTS.items()}
    there = {part: folder for part, folder in folders.items() if folder is not None}
    if "train" not in there:
        if there:
            raise UsageError(
                f"{base} holds a folder '{next(iter(there.values())).name}', but no folder"
                " 'train': put the images to learn from in train/CLASS/."
            )
        there = {"train": base}
    listing = Listing(base, base, {})
    for part, folder in there.items():
        classes = [each for each in _entries(folder) if each.is_dir() and not _is_hidden(each)]
        if not classes:
            raise UsageError(
                f"{folder} holds no class folders"
                + (", nor a folder 'train'" if folder == base else "")
                + ": put each class's images in a folder of its name."
            )
        listing.loose += sum(not _is_hidden(e) for e in _entries(folder)) - len(classes)
        listing.parts[part] = []
        for each in classes:
            names = sorted(_files(base, each, {os.path.realpath(each)}))
            listing.parts[part] += [ImageFile(name, each.name) for name in names]
            if not names:
                listing.empty.append(each.relative_to(base).as_posix())
    return listing


def _named(base: Path, names: tuple[str, ...]) -> Path | None:
    folders = {each.name.lower(): each for each in _entries(base) if each.is_dir()}
    return next((folders[name] for name in names if name in folders), None)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}.") from error


def _files(base: Path, folder: Path, seen: set[str]) -> Iterator[str]:
    """Yield all files below a folder; links that lead back are followed once."""
    for entry in _entries(folder):
        if _is_hidden(entry):
            continue
        if not entry.is_dir():
            yield entry.relative_to(base).as_posix()
        elif (real := os.path.realpath(entry)) not in seen:
            seen.add(real)
            yield from _files(base, entry, seen)


def _is_hidden(path: Path) -> bool:
    name = path.name.lower()
    return name.startswith(".") or name in (*_NO_CLASS, *_LITTER)
