"""The run folder of a job: its settings in a file, and what they were written by."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import ClassVar

import torch
from pydantic import BaseModel

from nasp.errors import NaspError
from nasp.runs.folder import RunFolder
from nasp.training.train import Trained


class Job(BaseModel):
    """A search or a training that fits in a JSON file.

    Attributes:
        kind: says in the file which class of jobs it is.
    """

    kind: ClassVar[str]


@dataclass(frozen=True)
class Result:
    """What one network of a training reached.

    Attributes:
        name: ``found``, or that of a rival.
        parameters: of the network.
        trained: the training.
        epoch_seconds: of the steps of each epoch.
        test: figures on the test part, where they were left for the end.
        tokens_per_second: of a language model in training.
    """

    name: str
    parameters: int
    trained: Trained
    epoch_seconds: tuple[float, ...]
    test: dict[str, float] | None = None
    tokens_per_second: float | None = None

    @property
    def seconds(self) -> float:
        """Of all steps."""
        return sum(self.epoch_seconds)


def at_equal_time(results: Sequence[Result]) -> tuple[float, list[float | None]]:
    """Return how long the shortest training took, and what each network had reached by then.

    That is its figure after the last epoch that was over; None where not one was.
    """
    shortest = min(result.seconds for result in results)
    figures = []
    for result in results:
        trained = result.trained
        name = f"{trained.measured_on}_{trained.figure.name}"
        over = sum(end <= shortest * (1 + 1e-9) for end in accumulate(result.epoch_seconds))
        figures.append(float(trained.metrics[over - 1][name]) if over else None)
    return shortest, figures


def begin(path: str | Path, job: Job) -> RunFolder:
    """Make a run folder for a job; see `RunFolder.create`."""
    content = {
        "kind": job.kind,
        "job": job.model_dump(mode="json"),
        "versions": {
            "nasp": version("nasp"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "git": _git_hash(),
    }
    return RunFolder.create(path, content)


@contextmanager
def new_run(path: str | Path, job: Job) -> Iterator[RunFolder]:
    """Make a run folder for a job, and take it away again where the job cannot even begin."""
    run = begin(path, job)
    try:
        yield run
    except NaspError:
        run.discard_unless_under_way()
        raise


def epoch_seconds(run: RunFolder) -> tuple[float, ...]:
    """Return how long the steps of each epoch took."""
    return tuple(float(line["seconds"]) for line in run.timing())


def inner_run(outer: RunFolder, name: str, job: Job) -> RunFolder:
    """Return the run of a job that is a part of another, begun where it was not yet.

    Args:
        outer: the run that it is a part of, and with which it goes on.
        name: its path inside the outer's folder.
        job: what the run is made for.
    """
    path = outer.path / name
    is_new = not (path / "config.json").is_file()
    run = begin(path, job) if is_new else RunFolder.open(path)
    run.go_on = outer.go_on
    return run


def _git_hash() -> str | None:
    try:
        result = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
