"""Checkpoints of a run: the latest two, of which a damaged one is passed over."""

from __future__ import annotations

import os
import pickle
import re
import time
import zipfile
import zlib
from collections import Counter, OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from nasp.errors import NaspError, UsageError
from nasp.runs.files import write_atomic
from nasp.runs.folder import RunFolder
from nasp.runs.random_state import random_states, restore_random_states

KEPT_CHECKPOINTS = 2
_DAMAGES = (
    *(OSError, RuntimeError, ValueError, EOFError),
    *(zipfile.BadZipFile, zlib.error, pickle.PickleError),
)


_PLAIN = (
    *(Tensor, nn.Parameter, str, bytes, bytearray, int, float, complex, bool, type(None)),
    *(torch.dtype, torch.device),
)


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
        self._is_checked = False

    def due(self) -> bool:
        """Tell whether the last checkpoint is older than `minutes`."""
        return self.run is not None and time.monotonic() - self._last >= 60 * self.minutes

    def save(self, step: int, progress: Mapping[str, Any]) -> None:
        """Write a checkpoint, then drop all but the latest two.

        Args:
            step: grows from checkpoint to checkpoint; names the file.
            progress: what else the loop has to remember (plain values and tensors).
        """
        if self.run is None or self.run.is_copy:
            return
        states = {name: part.state_dict() for name, part in self.parts.items()}
        self._check(states)
        state = {
            "progress": dict(progress),
            "parts": states,
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
        if not self.run.is_copy:
            self._check({name: part.state_dict() for name, part in self.parts.items()})
            self._is_checked = False  # states may yet take another form
        self.run.is_under_way = True
        checkpoints = _checkpoints(self.run.path / "checkpoints")
        for path in (self.run.path / "checkpoints").glob(".step-*.tmp"):
            path.unlink(missing_ok=True)  # half of a checkpoint, from a process that was killed
        for path, state in _readable(checkpoints):
            self._take_up(state["parts"], path)
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

    def _check(self, states: Mapping[str, Any]) -> None:
        """Refuse, once, what could be written but not be read again: plain values alone can."""
        if self._is_checked:
            return
        for name, state in states.items():
            foreign = next(_foreign(state), None)
            if foreign is not None:
                kind = f"{type(foreign).__module__}.{type(foreign).__name__}"
                raise UsageError(
                    f"A checkpoint cannot hold the state of '{name}': it has a {kind}, and only"
                    " tensors, numbers, words and lists or dictionaries of them can be read again."
                    " Let its state_dict return these, or give no run."
                )
        self._is_checked = True

    def _take_up(self, states: Mapping[str, Any], path: Path) -> None:
        try:
            for name, part in self.parts.items():
                part.load_state_dict(states[name])
        except (RuntimeError, KeyError, ValueError, IndexError) as error:
            raise NaspError(
                f"{path} does not fit this network or strategy: resume a run with what it was"
                f" begun with ({str(error).splitlines()[0]})."
            ) from error


def last_state(run: RunFolder) -> Mapping[str, Any]:
    """Return part -> its state in the latest checkpoint that can be read; nothing without one."""
    states = (state["parts"] for _, state in _readable(_checkpoints(run.path / "checkpoints")))
    return next(states, {})


def _readable(checkpoints: Sequence[tuple[int, Path]]) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the checkpoints that can be read, the latest first."""
    for _, path in reversed(checkpoints):
        state = _load_checkpoint(path)
        if state is not None:
            yield path, state


def _foreign(state: Any) -> Iterator[Any]:
    """Yield what torch.load does not read with weights_only."""
    if isinstance(state, Mapping) and type(state) in (dict, OrderedDict, Counter):
        yield from chain.from_iterable(map(_foreign, state.items()))
    elif type(state) in (list, tuple, set, torch.Size):
        if not all(type(each) in (int, float) for each in state):
            yield from chain.from_iterable(map(_foreign, state))
    elif type(state) not in _PLAIN:
        yield state


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    matches = ((re.fullmatch(r"step-(\d+)\.pt", p.name), p) for p in folder.glob("step-*.pt"))
    return sorted((int(match.group(1)), path) for match, path in matches if match)


def _load_checkpoint(path: Path) -> dict[str, Any] | None:
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return None
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGES:
        return None
    return state


def _synced_size(path: Path) -> int:
    if not path.exists():
        return 0
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
        return os.fstat(stream.fileno()).st_size


def _cut(path: Path, size: int) -> None:
    if path.exists() and path.stat().st_size > size:
        os.truncate(path, size)
