"""Image sets from a CSV file: a line an image, with its path, its class and, maybe, its part."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from torchvision.datasets.folder import IMG_EXTENSIONS

from nasp.domains.images.layouts import PARTS, ImageFile, Listing
from nasp.errors import UsageError

_KNOWN = {
    "path": ("path", "file", "filename", "file_name", "filepath", "image", "image_path", "img"),
    "label": ("label", "class", "class_name", "category", "target", "labels"),
    "split": ("split", "part", "set", "subset"),
}
"""What is in a column -> how it may be called."""
_PART_OF = {name: part for part, names in PARTS.items() for name in names}
_LOOKED_AT = 100


def list_csv(path: Path, columns: str | None = None) -> Listing:
    """List the images of a CSV file; paths are relative to its folder.

    Args:
        path: the file, separated by commas, semicolons or tabs.
        columns: ``path=NAME,label=NAME,split=NAME``, or some of them; the others go by their usual
            names, or by what is in them: the path is the column of image files, the label that
            with the fewest values. Without a header they are found so, too.

    Raises:
        UsageError: the file is missing, is no such table, or says two things of an image.
    """
    lines = [(n, row) for n, row in enumerate(_rows(path), 1) if any(row)]
    asked, header = _asked(columns), lines[0][1] if lines else []
    if asked or not any(_is_image(path.parent, cell) for cell in header):
        lines = lines[1:]
    else:
        header = [str(place) for place, _ in enumerate(header, 1)]
    if not lines:
        raise UsageError(f"{path} names no images: give it a line each, with a path and a class.")
    for number, row in lines:
        if len(row) != len(header):
            raise UsageError(
                f"Line {number} of {path} has {len(row)} fields, and there are {len(header)}"
                " columns."
            )
    found = _found(path, header, [row for _, row in lines], asked)
    parts: dict[str, list[ImageFile]] = {name: [] for name in PARTS}
    seen: dict[str, int] = {}
    for number, row in lines:
        name, label = row[found["path"]], row[found["label"]]
        if not name or not label:
            missing = "label" if name else "path"
            raise UsageError(f"Line {number} of {path} has no {missing}: fill it in, or remove it.")
        name = Path(name).as_posix()
        if seen.setdefault(name, number) != number:
            raise UsageError(
                f"Lines {seen[name]} and {number} of {path} both name {name}: keep one of them."
            )
        said = row[found["split"]] if "split" in found else "train"
        if said.lower() not in _PART_OF:
            raise UsageError(
                f"Line {number} of {path} says the part '{said}': give train, val or test."
            )
        parts[_PART_OF[said.lower()]].append(ImageFile(name, label))
    if not parts["train"]:
        raise UsageError(f"{path} names no image of the part 'train'.")
    ordered = {
        part: sorted(files, key=lambda file: (file.label, file.name))
        for part, files in parts.items()
        if files
    }
    return Listing(path.parent, path, ordered)


def _rows(path: Path) -> list[list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no UTF-8 text: save it as CSV in UTF-8.") from error
    except OSError as error:
        raise UsageError(f"The CSV file {path} cannot be read: {error.strerror}.") from error
    line = text.partition("\n")[0]
    separator = max(",;\t", key=line.count)
    if line and separator not in line:
        raise UsageError(f"{path} has one column: give a path and a label, separated by a comma.")
    try:
        rows = list(csv.reader(text.splitlines(), delimiter=separator, strict=True))
    except csv.Error as error:
        raise UsageError(f"{path} is no CSV file: {error}.") from error
    return [[cell.strip() for cell in row] for row in rows]


def _asked(columns: str | None) -> dict[str, str]:
    asked = {}
    for pair in columns.split(",") if columns else []:
        what, separator, name = pair.partition("=")
        if not separator or what.strip() not in _KNOWN:
            raise UsageError(
                f"--csv-columns takes path=NAME,label=NAME,split=NAME, not '{columns}'."
            )
        asked[what.strip()] = name.strip()
    return asked


def _found(
    path: Path, header: Sequence[str], body: Sequence[Sequence[str]], asked: dict[str, str]
) -> dict[str, int]:
    """Return which column holds what; a split need not be there."""
    found = {}
    for what, name in asked.items():
        if name not in header:
            raise UsageError(f"{path} has no column '{name}', only {', '.join(header)}.")
        found[what] = header.index(name)
    lower = [name.lower() for name in header]
    for what, names in _KNOWN.items():
        named = [lower.index(name) for name in names if name in lower]
        if what not in found and named:
            found[what] = named[0]
    left = [place for place in range(len(header)) if place not in found.values()]
    if "path" not in found:
        sample = body[:_LOOKED_AT]
        count, place = max(
            ((sum(_is_image(path.parent, row[p]) for row in sample), -p) for p in left),
            default=(0, 0),
        )
        if not count:
            raise UsageError(
                f"No column of {path} names image files: say which does, --csv-columns path=NAME."
            )
        found["path"] = -place
        left.remove(-place)
    if "label" not in found:
        values = {p: len({row[p] for row in body}) for p in left}
        usable = [p for p in left if 1 < values[p] < len(body)]
        if not usable:
            raise UsageError(
                f"No column of {path} looks like a class: say which is, --csv-columns label=NAME."
            )
        found["label"] = min(usable, key=lambda p: (values[p], p))
    return found


def _is_image(base: Path, cell: str) -> bool:
    return cell.lower().endswith(IMG_EXTENSIONS) or (cell != "" and (base / cell).is_file())
