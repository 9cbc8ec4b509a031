"""Files appear whole or not at all: temporary file, fsync, rename."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from nasp.errors import NaspError


def write_atomic(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Write a file so that a crash at any instant leaves the old content or the new one.

    Args:
        path: the file; its folder is made if it is missing.
        write: called once with the open temporary file.

    Raises:
        NaspError: the disk is full, or the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        cause = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise NaspError(
            f"Cannot write {path}: {cause}. What was there before is untouched;"
            " free some space or mend the permissions, then resume."
        ) from error


def write_text_atomic(path: Path, text: str) -> None:
    """Write UTF-8 text atomically; see `write_atomic`."""
    write_atomic(path, lambda stream: _write_all(stream, text.encode()))


def _write_all(stream: BinaryIO, data: bytes) -> None:
    stream.write(data)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
