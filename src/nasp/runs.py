"""The run folder: all of one search or training, safe against being killed at any instant."""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import re
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from nasp.atomic import write_atomic, write_text_atomic
from nasp.errors import NaspError, UsageError
from nasp.random_state import random_states, restore_random_states

KEPT_CHECKPOINTS = 2


class RunFolder:
    """A folder with the files of one run.

    `config.json` (what it was asked to do), `metrics.jsonl` (a line an epoch), `timing.jsonl`
    (seconds, kept apart so that equal runs have equal metrics), `checkpoints/` (the latest two),
    and what the run ends with.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def create(path: str | Path, config: Mapping[str, Any]) -> RunFolder:
        """Make the folder of a new run.

        Raises:
            UsageError: the folder holds something already.
            NaspError: it cannot be written.
        """
        folder = Path(path)
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UsageError(
                f"{folder} is not empty: go on with 'nasp resume {folder}', or give another --out."
            )
        run = RunFolder(folder)
        write_text_atomic(run.config_path, json.dumps(config, indent=2, sort_keys=True) + "\n")
        return run

    @staticmethod
    def open(path: str | Path) -> RunFolder:
        """Open the folder of a run that was begun.

        Raises:
            UsageError: there is no run there.
        """
        run = RunFolder(Path(path))
        if not run.config_path.is_file():
            raise UsageError(f"{path} is not a run folder: it has no config.json.")
        return run

    @property
    def config_path(self) -> Path:
        """The settings' file."""
        return self.path / "config.json"

    @property
    def metrics_path(self) -> Path:
        """The metrics' file."""
        return self.path / "metrics.jsonl"

    @property
    def architecture_path(self) -> Path:
        """What the search found; there only once the run is finished."""
        return self.path / "architecture.json"

    @property
    def timing_path(self) -> Path:
        """The file of wall-clock seconds."""
        return self.path / "timing.jsonl"

    def config(self) -> dict[str, Any]:
        """Return the settings the run was begun with.

        Raises:
            NaspError: the file is damaged.
        """
        try:
            content = json.loads(self.config_path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise NaspError(f"{self.config_path} is damaged: {error}.") from error
        if not isinstance(content, dict):
            raise NaspError(f"{self.config_path} is damaged: it is no JSON object.")
        return content

    def metrics(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl that are whole."""
        return _json_lines(self.metrics_path)

    def timing(self) -> list[dict[str, Any]]:
        """Return the lines of timing.jsonl that are whole."""
        return _json_lines(self.timing_path)

    def append_metrics(self, line: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl."""
        _append(self.metrics_path, line)

    def append_timing(self, line: Mapping[str, Any]) -> None:
        """Add a line to timing.jsonl."""
        _append(self.timing_path, line)

    def save_tensors(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        """Write tensors to a safetensors file of the run, atomically."""
        save_tensors(self.path / name, tensors)

    def lock(self) -> _Lock:
        """Keep other processes from writing to the run; a context manager."""
        return _Lock(self.path)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to a safetensors file, atomically."""
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    data = safetensors.torch.save(whole)
    write_atomic(path, lambda stream: stream.write(data))


def load_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read a safetensors file.

    Raises:
        NaspError: it is missing or damaged.
    """
    try:
        tensors: dict[str, Tensor] = safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        raise NaspError(f"Cannot read the weights in {path}: {error}.") from error
    return tensors


class Stateful(Protocol):
    """A part of a run that a checkpoint holds."""

    def state_dict(self) -> Any:
        """Return all it needs to go on."""
        ...

    def load_state_dict(self, state: Any, /) -> Any:
        """Take up such a state."""
        ...


class Checkpointer:
    """Saves and restores the parts of a run, its random states and the length of its metrics.

    Args:
        run: where to; None saves nothing.
        parts: by name, everything that has a state.
        minutes: after how long `due` asks for a checkpoint within an epoch.
    """

    def __init__(
        self, run: RunFolder | None, parts: Mapping[str, Stateful], minutes: float
    ) -> None:
        self.run = run
        self.parts = parts
        self.minutes = minutes
        self._last = time.monotonic()

    def due(self) -> bool:
        """Tell whether the last checkpoint is older than `minutes`."""
        return self.run is not None and time.monotonic() - self._last >= 60 * self.minutes

    def save(self, step: int, progress: Mapping[str, Any]) -> None:
        """Write a checkpoint, then drop all but the latest two.

        Args:
            step: grows from checkpoint to checkpoint; names the file.
            progress: what else the loop has to remember (plain values and tensors).
        """
        if self.run is None:
            return
        state = {
            "progress": dict(progress),
            "parts": {name: part.state_dict() for name, part in self.parts.items()},
            "random": random_states(),
            "metrics_bytes": _synced_size(self.run.metrics_path),
            "timing_bytes": _synced_size(self.run.timing_path),
        }
        folder = self.run.path / "checkpoints"
        write_atomic(folder / f"step-{step:09d}.pt", lambda stream: torch.save(state, stream))
        for _, old in _checkpoints(folder)[:-KEPT_CHECKPOINTS]:
            old.unlink(missing_ok=True)
        self._last = time.monotonic()

    def restore(self) -> dict[str, Any] | None:
        """Take up the latest checkpoint that can be read; cut the metrics back to it.

        Returns:
            The progress that was saved with it; None where the run has no checkpoint yet.

        Raises:
            NaspError: there are checkpoints, and none of them can be read.
        """
        if self.run is None:
            return None
        checkpoints = _checkpoints(self.run.path / "checkpoints")
        for _, path in reversed(checkpoints):
            state = _load_checkpoint(path)
            if state is None:
                continue
            for name, part in self.parts.items():
                part.load_state_dict(state["parts"][name])
            restore_random_states(state["random"])
            _cut(self.run.metrics_path, state["metrics_bytes"])
            _cut(self.run.timing_path, state["timing_bytes"])
            progress: dict[str, Any] = state["progress"]
            return progress
        if checkpoints:
            raise NaspError(
                f"No checkpoint in {self.run.path / 'checkpoints'} can be read: they are damaged;"
                " delete that folder to begin the run anew."
            )
        _cut(self.run.metrics_path, 0)
        _cut(self.run.timing_path, 0)
        return None


class _Lock:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        self.descriptor = os.open(self.folder / ".lock", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self.descriptor)
            raise UsageError(
                f"Another process is at work on {self.folder}: wait for it."
            ) from error

    def __exit__(self, *_: object) -> None:
        os.close(self.descriptor)


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    matches = ((re.fullmatch(r"step-(\d+)\.pt", p.name), p) for p in folder.glob("step-*.pt"))
    return sorted((int(match.group(1)), path) for match, path in matches if match)


def _load_checkpoint(path: Path) -> dict[str, Any] | None:
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return None
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, zipfile.BadZipFile, pickle.PickleError):
        return None
    return state


def _append(path: Path, line: Mapping[str, Any]) -> None:
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
    except OSError as error:
        raise NaspError(
            f"Cannot write {path}: {error.strerror}. Free some space, then resume the run."
        ) from error


def _json_lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def _synced_size(path: Path) -> int:
    if not path.exists():
        return 0
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        return os.fstat(stream.fileno()).st_size


def _cut(path: Path, size: int) -> None:
    if path.exists() and path.stat().st_size > size:
        os.truncate(path, size)
