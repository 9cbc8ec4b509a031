"""Files appear whole or not at all, whatever goes wrong."""

import errno
import os
from pathlib import Path
from typing import BinaryIO

import pytest

from nasp.errors import NaspError
from nasp.runs.files import write_atomic, write_text_atomic


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_writes_and_makes_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "text"
    write_text_atomic(path, "Zürich")
    assert path.read_text(encoding="utf-8") == "Zürich"
    write_text_atomic(path, "new")
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_content_and_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "text"
    write_text_atomic(path, "old")
    monkeypatch.setattr(*((os, "fsync") if call == "fsync" else (Path, "replace")), full_disk)
    with pytest.raises(NaspError, match=r"Cannot write .*text: No space left on device") as caught:
        write_text_atomic(path, "new")
    assert isinstance(caught.value.__cause__, OSError)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("error", "seen"),
    [
        (OSError(), NaspError),
        (RuntimeError("first line\nsecond line"), NaspError),
        (RuntimeError(), NaspError),
        (ValueError("a writer's own bug"), ValueError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=repr,
)
def test_a_writer_that_fails_midway(
    tmp_path: Path, error: BaseException, seen: type[BaseException]
) -> None:
    path = tmp_path / "text"
    write_text_atomic(path, "old")

    def write(stream: BinaryIO) -> None:
        stream.write(b"half of it")
        raise error

    with pytest.raises(seen) as caught:
        write_atomic(path, write)
    assert "second line" not in str(caught.value)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_content_is_on_the_disk_before_the_file_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, order = tmp_path / "text", []
    real_fsync, real_replace = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        order.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        real_fsync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        order.append("rename")
        return real_replace(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    write_text_atomic(path, "x")
    assert order == ["file", "rename", "folder"]


@pytest.mark.parametrize("where", ["a_file/text", "a_folder"])
def test_where_no_file_can_be(tmp_path: Path, where: str) -> None:
    (tmp_path / "a_file").write_text("kept")
    (tmp_path / "a_folder").mkdir()
    with pytest.raises(NaspError, match=r"Cannot write .*free some space or mend the permissions"):
        write_text_atomic(tmp_path / where, "x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a_file", "a_folder"]
    assert (tmp_path / "a_file").read_text() == "kept"
