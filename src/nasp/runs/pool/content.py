"""What a run folder holds, as bytes: how it comes to another machine and back.

Files appear one by one, in an order in which a kill at any instant leaves a folder that goes on.
"""

from __future__ import annotations

import io
import zipfile
from functools import partial
from pathlib import Path
from typing import BinaryIO

from nasp.runs.files import write_atomic

CHECKPOINTS = "checkpoints"
"""In a folder in which a loop writes on, they are older than all else, as after a kill."""


def packed(folder: Path) -> bytes | None:
    """Return a folder's files; None where there are none. A loop may be writing there."""
    buffer, count = io.BytesIO(), 0
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(folder.rglob("*"), key=_checkpoints_first):
            try:
                content = path.read_bytes() if _is_kept(path) else None
            except FileNotFoundError:  # replaced by a newer one
                continue
            if content is not None:
                name = path.relative_to(folder).as_posix()
                archive.writestr(zipfile.ZipInfo(name), content)
                count += 1
    return buffer.getvalue() if count else None


def unpack(content: bytes, folder: Path) -> None:
    """Make a folder hold just these files, each of which appears whole.

    Raises:
        NaspError: it cannot be written.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        for name in reversed(names):
            write_atomic(folder / name, partial(_write, archive.read(name)))
    for path in folder.rglob("*"):
        if _is_kept(path) and path.relative_to(folder).as_posix() not in names:
            path.unlink(missing_ok=True)


def _write(content: bytes, stream: BinaryIO) -> None:
    stream.write(content)


def _is_kept(path: Path) -> bool:
    return path.is_file() and path.name != ".lock" and path.suffix != ".tmp"


def _checkpoints_first(path: Path) -> tuple[bool, str]:
    return CHECKPOINTS not in path.parts, str(path)
