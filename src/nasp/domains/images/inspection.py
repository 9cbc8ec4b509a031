"""One look at every image file before a search: which cannot be used, and why."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from nasp.domains.images.decode import opened, pixels, reason
from nasp.domains.images.layouts import ImageFile, Listing
from nasp.errors import NaspError, UsageError
from nasp.training.events import Loading, Noted, Observer

SMALLEST = 4
"""Height and width of an image, the least that can be used."""
_NAMED = 5
_EVERY = 64
_END = {"GIF": b";", "JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
"""Format -> the bytes that a whole file ends with."""


@dataclass
class Inspection:
    """What was seen.

    Attributes:
        bad: file or folder -> why it cannot be used.
        sizes: how many images there are of each `(width, height)`.
        transparent: how many images are transparent somewhere, or could be.
        damaged: whether one is bad since its bytes are.
    """

    bad: dict[str, str] = field(default_factory=dict)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    transparent: int = 0
    damaged: bool = False


def inspect(
    listing: Listing, observe: Observer, skip_bad: bool = False, is_known: bool = False
) -> Inspection:
    """Open the header of every image, and take out of the listing what cannot be used.

    Args:
        listing: its parts lose the files that are bad.
        observe: is told how far that is, and what is left out.
        skip_bad: go on without them; each is then decoded whole, so that none shows later.
        is_known: the listing is an earlier run's, and must stay as it is.

    Raises:
        UsageError: files are no images, too small, or alone in their class, and are not skipped;
            there is one class only, or a part has others than the training part.
        NaspError: files are damaged, and are not skipped.
    """
    found = Inspection(bad=dict.fromkeys(listing.empty, "holds no images"))
    total, done = sum(map(len, listing.parts.values())), 0
    for part, files in listing.parts.items():
        good = []
        for file in files:
            flaw = _flaw(listing.base / file.name, found, skip_bad and not is_known)
            if flaw is None:
                good.append(file)
            else:
                found.bad[file.name] = flaw
            done += 1
            if done % _EVERY == 0 or done == total:
                observe(Loading(done, total, "opening images"))
        listing.parts[part] = good
    if not is_known:
        _take_out_lonely(listing, found)
    if found.bad and (is_known or not skip_bad):
        raise _refusal(listing.source, found, total, is_known)
    if found.bad:
        _take_out_partial(listing, found)
        observe(Noted(f"Left out: {_named(found.bad)}."))
    _check_classes(listing)
    if found.transparent:
        observe(Noted(f"Transparent images, {found.transparent} of {total}, are laid on white."))
    if listing.loose:
        observe(Noted(f"Files beside the class folders, {listing.loose}, are left out."))
    return found


def _flaw(path: Path, found: Inspection, is_whole: bool) -> str | None:
    """Return why a file cannot be used; note the size of one that can."""
    if not path.name.lower().endswith(IMG_EXTENSIONS):
        return "is not an image"
    if not path.is_file():
        return "is not there"
    try:
        with opened(path) as image:
            if min(image.size) < SMALLEST:
                return f"is too small ({image.width}×{image.height} pixels)"
            size, transparent = image.size, image.has_transparency_data
            if is_whole or image.mode in ("I", "F") or not _ends(path, image.format or ""):
                pixels(image)
    except Exception as error:  # Pillow's plugins raise whatever damaged bytes lead to
        found.damaged = True
        return f"is damaged ({reason(error)})"
    found.sizes[size] += 1
    found.transparent += transparent
    return None


def _ends(path: Path, kind: str) -> bool:
    """Tell whether a file ends as those of its format do; one that does not is looked into."""
    end = _END.get(kind, b"")
    with path.open("rb") as stream:
        stream.seek(-min(len(end), stream.seek(0, os.SEEK_END)), os.SEEK_END)
        return stream.read() == end


def _take_out_lonely(listing: Listing, found: Inspection) -> None:
    counts = Counter(file.label for file in listing.parts["train"])
    lonely = [file for file in listing.parts["train"] if counts[file.label] == 1]
    found.bad |= {file.name: "is alone in its class" for file in lonely}
    listing.parts["train"] = [f for f in listing.parts["train"] if counts[f.label] > 1]


def _take_out_partial(listing: Listing, found: Inspection) -> None:
    """Take out the classes that have lost all their images in one of the parts."""
    parts = {part: _labels(files) for part, files in listing.parts.items()}
    common = set.intersection(*parts.values())
    partial = sorted(set.union(*parts.values()) - common)
    found.bad |= {f"class {label}": "is not left in every part" for label in partial}
    listing.parts = {
        part: [file for file in files if file.label in common]
        for part, files in listing.parts.items()
    }


def _refusal(source: Path, found: Inspection, total: int, is_known: bool) -> NaspError:
    kind = NaspError if found.damaged else UsageError
    some = "" if len(found.bad) == 1 else f"{len(found.bad)} of {total} cannot be used: "
    remedy = "Mend or remove what is named, or go on without by --skip-bad."
    if is_known:
        remedy = "The run was begun with it: bring it back as it was."
    return kind(f"In {source} {some}{_named(found.bad)}. {remedy}")


def _named(bad: dict[str, str]) -> str:
    first = [f"{_printable(name)} {why}" for name, why in list(bad.items())[:_NAMED]]
    more = [f"{len(bad) - _NAMED} more"] if len(bad) > _NAMED else []
    return " and ".join(filter(None, [", ".join([*first, *more][:-1]), [*first, *more][-1]]))


def _printable(name: str) -> str:
    return name if name.isprintable() else ascii(name)


def _check_classes(listing: Listing) -> None:
    classes = _labels(listing.parts["train"])
    if len(classes) < 2:
        only = next(iter(classes), "")
        what = f"one class only, '{only}'" if classes else "no class left"
        inner = listing.base / only
        hint = f" Is folder:{inner} meant?" if (inner / "train").is_dir() else ""
        raise UsageError(f"{listing.source} has {what}: give two or more to be told apart.{hint}")
    for part, files in listing.parts.items():
        odd = sorted(classes ^ _labels(files))
        if odd:
            raise UsageError(
                f"The parts train and {part} of {listing.source} have different classes:"
                f" {', '.join(map(repr, odd))} is only in one of them."
            )


def _labels(files: Iterable[ImageFile]) -> set[str]:
    return {file.label for file in files}
