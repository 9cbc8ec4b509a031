"""What is known of a space: the accuracy of every cell of it, trained alone."""

from __future__ import annotations

import bisect
import csv
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from nasp.bench.tables.nats import PREFIX, read_nats
from nasp.errors import NaspError, UsageError
from nasp.spaces import find_space
from nasp.supernet.architecture import Architecture

EMBEDDED = ("digits", "fashion-mnist")
"""Data whose table of the space ``nasbench201-3`` is shipped; made by ``nasp bench table``."""
COLUMNS = ("arch", "test_accuracy")
"""What a table in CSV must have; more columns are no harm."""


@dataclass(frozen=True, eq=False)
class AccuracyTable:
    """A table: cell -> test accuracy.

    Attributes:
        name: where it is from.
        space: the search space's name.
        accuracies: the cell's notation -> per cent; at least one cell.
        made_with: settings that the table was made with, where it says so: ``data`` (a name),
            ``channels``, ``cells``.
    """

    name: str
    space: str
    accuracies: Mapping[str, float]
    made_with: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.accuracies:
            raise UsageError(f"The table {self.name} is empty.")

    def accuracy(self, architecture: Architecture) -> float:
        """Return a cell's accuracy in per cent.

        Raises:
            UsageError: the architecture is of another space.
            NaspError: the table lacks the cell.
        """
        cell = find_space(self.space).notation(architecture)
        if cell not in self.accuracies:
            raise NaspError(f"The table {self.name} lacks the cell {cell}.")
        return self.accuracies[cell]

    @property
    def best(self) -> float:
        """The highest accuracy."""
        return self._ascending[-1]

    def percentile(self, accuracy: float) -> float:
        """Return which per cent of the table's cells are worse; of equal ones half count."""
        below = bisect.bisect_left(self._ascending, accuracy)
        upto = bisect.bisect_right(self._ascending, accuracy)
        return 100 * (below + upto) / (2 * len(self._ascending))

    @property
    def digest(self) -> str:
        """A hash of all that is in the table."""
        text = json.dumps([self.space, sorted(self.accuracies.items())])
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @cached_property
    def _ascending(self) -> list[float]:
        return sorted(self.accuracies.values())


def open_table(table: str | None, data: str | None, space: str | None) -> AccuracyTable:
    """Return the table that a user asks for.

    Args:
        table: a file in CSV with the columns ``arch`` and ``test_accuracy``, a file of
            ``nasp bench table``, or ``nats:PATH``; None: the embedded one for `data`.
        data: the data set's name; default ``digits`` where no table is given.
        space: the table's space, where it does not say so; default ``nasbench201``.

    Raises:
        UsageError: there is no such table, or it is of another space.
        NaspError: it cannot be read, or is damaged.
    """
    if table is None:
        found = embedded(data or "digits")
    elif table.startswith(PREFIX):
        found = AccuracyTable(table, "nasbench201", read_nats(table.removeprefix(PREFIX)))
    elif table.endswith(".csv"):
        found = read_csv(Path(table), space or "nasbench201")
    else:
        found = read_json(_text(Path(table)), table)
    if space is not None and space != found.space:
        raise UsageError(f"The table {found.name} is of the space '{found.space}', not '{space}'.")
    return found


def embedded(data: str) -> AccuracyTable:
    """Return the table of ``nasbench201-3`` that is shipped for a data set.

    Raises:
        UsageError: there is none.
    """
    if data not in EMBEDDED:
        raise UsageError(
            f"There is no embedded table for '{data}' (only for {', '.join(EMBEDDED)}): give"
            " --table FILE, such as one made by nasp bench table."
        )
    file = resources.files("nasp.bench") / "tables" / f"nasbench201-3-{data}.json"
    return read_json(file.read_text(encoding="utf-8"), f"embedded {data}")


def read_json(text: str, name: str) -> AccuracyTable:
    """Read what ``nasp bench table`` wrote; a cell's accuracy is the mean over its seeds.

    Raises:
        UsageError: it is no such table.
    """
    try:
        content = json.loads(text)
        settings, rows = content["settings"], content["rows"]
        accuracies = {row["name"]: float(row["test_accuracy"]["mean"]) for row in rows}
        space = find_space(settings["space"])
        for cell in accuracies:
            space.parse(cell)
        made_with = {
            "data": settings["data"]["name"],
            **{part: int(settings[part]) for part in ("channels", "cells")},
        }
    except (ValueError, KeyError, TypeError, NaspError) as error:
        raise UsageError(f"{name} is no table of nasp bench table ({error!r}).") from error
    return AccuracyTable(name, space.name, accuracies, made_with)


def read_csv(path: Path, space: str) -> AccuracyTable:
    """Read a table in CSV: a header, then a line a cell, ``arch`` in the space's notation.

    Raises:
        UsageError: a column is missing, or a line is no cell of the space.
        NaspError: the file cannot be read.
    """
    known = find_space(space)
    reader = csv.DictReader(_text(path).splitlines())
    if absent := sorted(set(COLUMNS) - set(reader.fieldnames or ())):
        raise UsageError(f"The table {path} has no column '{absent[0]}'.")
    accuracies = {}
    for number, row in enumerate(reader, 2):
        try:
            accuracy = float(row["test_accuracy"])
            if not (math.isfinite(accuracy) and 0 <= accuracy <= 100):
                raise UsageError(f"the accuracy {accuracy} is no percentage")
            accuracies[known.notation(known.parse(row["arch"]))] = accuracy
        except (ValueError, TypeError, UsageError) as error:
            raise UsageError(f"Line {number} of the table {path}: {error}") from error
    return AccuracyTable(str(path), known.name, accuracies)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise NaspError(f"Cannot read the table {path}: {reason}.") from error
