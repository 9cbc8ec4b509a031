"""Files appear whole or not at all: temporary file, fsync, rename."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from nasp.errors import NaspError


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
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
        cause = getattr(error, "strerror", None) or str(error).partition("\n")[0] or repr(error)
        raise NaspError(
            f"Cannot write {path}: {cause}. What was there before is untouched;"
            " free some space or mend the permissions, then resume."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text_atomic(path: Path, text: str) -> None:
    """Write UTF-8 text atomically; see `write_atomic`."""
    write_atomic(path, lambda stream: stream.write(text.encode()))


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # a folder cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
