"""What a command is about: a run folder and its job, or an architecture."""

from __future__ import annotations

import os
from pathlib import Path

from nasp.errors import UsageError, validated
from nasp.jobs.repeat import RepeatJob
from nasp.jobs.search_job import SearchJob
from nasp.jobs.train_job import TrainJob
from nasp.runs.folder import RunFolder
from nasp.spaces import NotationError, find_space, space_names
from nasp.supernet.architecture import Architecture

_JOBS: dict[str, type[SearchJob | TrainJob]] = {
    job.kind: job for job in (SearchJob, RepeatJob, TrainJob)
}


def is_from_python(run: RunFolder) -> bool:
    """Tell whether a run was begun by `nasp.search` or `nasp.train`."""
    return str(run.config().get("kind")).startswith("python-")


def job_of(run: RunFolder) -> SearchJob | TrainJob:
    """Return the job a run folder was made for.

    Raises:
        UsageError: the run was begun from Python, or its settings do not fit this version.
    """
    content = run.config()
    kind = str(content.get("kind"))
    if is_from_python(run):
        raise UsageError(
            f"{run.path} was begun from Python, which alone knows its network: go on there with"
            f" nasp.{kind.removeprefix('python-')}(..., run='{run.path}'), and train with"
            " nasp.train."
        )
    if kind not in _JOBS or not isinstance(content.get("job"), dict):
        raise UsageError(f"{run.config_path} is not the settings of a search or a training.")
    return validated(_JOBS[kind], content["job"], str(run.config_path))


def target_of(text: str) -> RunFolder | Architecture:
    """Return what RUN|ARCH names: a run folder, a JSON file, or a space's own notation.

    Raises:
        UsageError: it is none of them.
    """
    path = Path(text)
    # Not path.is_dir(): a genotype is too long for a file's name, at which that raises.
    if os.path.isdir(path):
        return RunFolder.open(path)
    if os.path.isfile(path):
        return Architecture.load(path)
    if "(" in text or "|" in text:
        reasons: list[UsageError] = []
        for name in space_names():
            try:
                return find_space(name).parse(text)
            except UsageError as error:
                reasons.append(error)
        # The space that it is meant for says best what is wrong.
        reason = min(reasons, key=lambda error: isinstance(error, NotationError))
        raise UsageError(f"'{text}' is no architecture of any space: {reason}")
    raise UsageError(f"There is no run folder, file or architecture '{text}'.")


def found_architecture(target: RunFolder | Architecture) -> Architecture:
    """Return the architecture of a finished run, or the architecture itself.

    Raises:
        UsageError: the run is not finished.
        NaspError: its file is damaged.
    """
    if isinstance(target, Architecture):
        return target
    if target.architecture_path.is_file():
        return Architecture.load(target.architecture_path)
    job = job_of(target)
    if isinstance(job, TrainJob) and job.architecture is not None:
        return Architecture(job.architecture, job.space)
    raise UsageError(
        f"The {job.kind} in {target.path} is not finished: go on with 'nasp resume {target.path}'."
    )
