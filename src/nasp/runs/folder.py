"""The run folder: all of one search or training, safe against being killed at any instant."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError
from torch import Tensor

from nasp.errors import NaspError, UsageError
from nasp.runs.files import write_atomic, write_text_atomic


class RunFolder:
    """A folder with the files of one run.

    `config.json` (what it was asked to do), `metrics.jsonl` (a line an epoch), `timing.jsonl`
    (seconds, kept apart so that equal runs have equal metrics), `checkpoints/` (the latest two),
    and what the run ends with.

    Attributes:
        go_on: what the user is told when the run is stopped; empty where nobody can.
        is_copy: of a run that another process keeps, or nobody: no checkpoint is written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.go_on = f"nasp resume {path}"
        self.is_copy = False
        self.is_under_way = False

    @staticmethod
    def create(path: str | Path, config: Mapping[str, Any]) -> RunFolder:
        """Make the folder of a new run.

        Raises:
            UsageError: the folder holds something already.
            NaspError: it cannot be written.
        """
        folder = Path(path)
        if folder.exists() and not (folder.is_dir() and all(map(_is_left_over, folder.iterdir()))):
            raise UsageError(
                f"{folder} is not empty: go on with 'nasp resume {folder}', or give another --out."
            )
        run = RunFolder(folder)
        run.write_config(config)
        return run

    @staticmethod
    def open(path: str | Path) -> RunFolder:
        """Open the folder of a run that was begun.

        Raises:
            UsageError: there is no run there.
        """
        run = RunFolder(Path(path))
        if not run.config_path.is_file():
            inside = sorted(each.parent.name for each in run.path.glob("*/config.json"))
            runs = f" Runs in it: {', '.join(inside[:8])}." if inside else ""
            raise UsageError(f"{path} is not a run folder: it has no config.json.{runs}")
        return run

    def part(self, name: str) -> RunFolder:
        """Return a folder in this one that keeps a loop of its own; made where it is missing."""
        part = RunFolder(self.path / name)
        part.go_on, part.is_copy = self.go_on, self.is_copy
        try:
            part.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise NaspError(f"Cannot make {part.path}: {error.strerror}.") from error
        return part

    def epochs(self, begun: int) -> int:
        """Return how many epochs the run is to have in all; at first those it was begun with."""
        content = self.config()
        begun = content.get("within_minutes", {}).get("epochs", begun)
        return max(begun, int(content.get("go_on_to", 0)))

    def extend(self, epochs: int, begun: int) -> None:
        """Let a finished run go on until it has so many epochs in all.

        Raises:
            UsageError: it is not finished, or is to have more already.
        """
        held = self.epochs(begun)
        if epochs < held:
            raise UsageError(f"{self.path} is to have {held} epochs already: give more.")
        if epochs > held:
            if not self.architecture_path.is_file():
                raise UsageError(
                    f"The search in {self.path} is not finished: first go on with {self.go_on}."
                )
            self.write_config({**self.config(), "go_on_to": epochs})

    def write_config(self, content: Mapping[str, Any]) -> None:
        """Write the settings' file anew."""
        write_text_atomic(self.config_path, json.dumps(content, indent=2, sort_keys=True) + "\n")

    def discard_selection(self) -> None:
        """Remove what a selection kept."""
        self.selection_path.unlink(missing_ok=True)
        shutil.rmtree(self.path / "selection", ignore_errors=True)

    def discard_unless_under_way(self) -> None:
        """Remove the folder of a run whose loop did not even begin."""
        if self.is_under_way:
            return
        # `create` found it empty, so all that is in it is this run's.
        shutil.rmtree(self.path, ignore_errors=True)

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
    def costs_path(self) -> Path:
        """What candidates and networks cost, where that was measured."""
        return self.path / "costs.json"

    @property
    def choices_path(self) -> Path:
        """What a search chooses between: table -> its edges and their candidates."""
        return self.path / "choices.json"

    @property
    def selection_path(self) -> Path:
        """The table of the selection; there only once it is finished."""
        return self.path / "selection.json"

    @property
    def timing_path(self) -> Path:
        """The file of wall-clock seconds."""
        return self.path / "timing.jsonl"

    def config(self) -> dict[str, Any]:
        """Return the settings the run was begun with.

        Raises:
            NaspError: the file is damaged.
        """
        return json_object(self.config_path)

    def selection(self) -> dict[str, Any] | None:
        """Return the table of the selection; None where there is none (yet).

        Raises:
            NaspError: the file is damaged.
        """
        return json_object(self.selection_path) if self.selection_path.is_file() else None

    def decided_by(self) -> str | None:
        """Return what made its architecture the result; None where that is not said (yet).

        Raises:
            NaspError: the file is damaged.
        """
        if not self.architecture_path.is_file():
            return None
        decided_by: str | None = json_object(self.architecture_path).get("decided_by")
        return decided_by

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

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other processes from writing to the run; the system frees it if this one is killed.

        Raises:
            UsageError: another process has it.
        """
        try:
            held = FileLock(self.path / ".lock").acquire(blocking=False)
        except Timeout as error:
            raise UsageError(f"Another process is at work on {self.path}: wait for it.") from error
        with held:
            yield


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


def _is_left_over(path: Path) -> bool:
    """Tell whether a file is half of another, from a process that was killed in `create`."""
    return path.name.startswith(".config.json.") and path.suffix == ".tmp"


def _append(path: Path, line: Mapping[str, Any]) -> None:
    try:
        with path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
    except OSError as error:
        raise NaspError(
            f"Cannot write {path}: {error.strerror}. Free some space, then resume the run."
        ) from error


def json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        NaspError: it cannot be read, or is something else.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise NaspError(f"{path} is damaged: {error}.") from error
    if not isinstance(content, dict):
        raise NaspError(f"{path} is damaged: it is no JSON object.")
    return content


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
