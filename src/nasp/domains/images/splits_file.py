"""Which file is in which part, as a run folder keeps it, so that every later run has the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator

from nasp.domains.images.layouts import PARTS, ImageFile, Listing
from nasp.errors import NaspError, UsageError, validated
from nasp.runs.files import write_text_atomic
from nasp.runs.folder import json_object

SPLITS = "splits.json"
"""The file of a run folder that holds them."""


class Splits(BaseModel):
    """The files of each part.

    Attributes:
        parts: part -> class -> file, its path from the folder of the data -> its bytes.
        held_out: files of the part ``train`` that a training does not learn from but chooses by;
            None where the data have a part ``val``.
        left_out: what could not be used -> why.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    parts: dict[str, dict[str, dict[str, int]]]
    held_out: tuple[str, ...] | None = None
    left_out: dict[str, str] = {}

    @field_validator("parts")
    @classmethod
    def _has_what_is_needed(cls, parts: dict[str, Any]) -> dict[str, Any]:
        if not {"train", "test"} <= parts.keys() <= PARTS.keys():
            raise ValueError("it must have the parts train and test, and may have val")
        return parts

    @staticmethod
    def of(
        listing: Listing, held_out: tuple[str, ...] | None, left_out: Mapping[str, str]
    ) -> Splits:
        """Return those of a listing, whose files are there."""
        parts: dict[str, dict[str, dict[str, int]]] = {}
        for part, files in listing.parts.items():
            for name, label in files:
                size = (listing.base / name).stat().st_size
                parts.setdefault(part, {}).setdefault(label, {})[name] = size
        return Splits(parts=parts, held_out=held_out, left_out=dict(left_out))

    @staticmethod
    def read(path: Path) -> Splits:
        """Read a file that `write` wrote.

        Raises:
            UsageError: there is none.
            NaspError: it is damaged.
        """
        if not path.is_file():
            raise UsageError(f"There is no file {path}: give the {SPLITS} of a run.")
        return validated(Splits, json_object(path), str(path))

    def write(self, run: Path) -> None:
        """Write them into a run folder.

        Raises:
            NaspError: the folder holds others.
        """
        path = run / SPLITS
        if not path.is_file():
            # Not mode="json", which changes names that are no UTF-8.
            write_text_atomic(path, json.dumps(self.model_dump(), indent=0) + "\n")
        elif Splits.read(path) != self:
            raise NaspError(
                f"The images are not those that {path} names: bring them back, or begin a new run."
            )

    def listing(self, base: Path) -> Listing:
        """Return the listing, in a folder that may be another than that of before.

        Raises:
            NaspError: a file is not there any more, or has another size.
        """
        files = {
            n: size for part in self.parts.values() for c in part.values() for n, size in c.items()
        }
        changed = [name for name, size in files.items() if _size(base / name) != size]
        if changed:
            raise NaspError(
                f"{len(changed)} of the run's {len(files)} images are gone or changed in {base},"
                f" the first is {changed[0]}: bring them back, or say where they are now by --data."
            )
        parts = {
            part: [ImageFile(name, label) for label, names in classes.items() for name in names]
            for part, classes in self.parts.items()
        }
        return Listing(base, base, parts)

    def has_any(self, base: Path) -> bool:
        """Tell whether a folder holds some of these files."""
        return any(
            _size(base / name) == size
            for part in self.parts.values()
            for names in part.values()
            for name, size in names.items()
        )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None
