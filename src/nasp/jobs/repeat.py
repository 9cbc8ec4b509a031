"""The same search by several seeds, as settings that fit in a JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from nasp.errors import UsageError, validated
from nasp.jobs.job import begin, written
from nasp.jobs.search_job import SearchJob
from nasp.runs.folder import RunFolder


class Repeats(BaseModel):
    """How many searches, and how what they found is compared."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    seeds: int = Field(8, ge=2)
    """How many searches; their seeds begin with --seed."""
    random: int | None = Field(None, ge=0)
    """Random architectures that are trained beside what was found."""
    budget: int | None = Field(None, ge=2)
    """Epochs of the stand-alone trainings that decide at the end, of all networks together."""

    @property
    def controls(self) -> int:
        """Random architectures beside what was found."""
        return self.seeds if self.random is None else self.random

    def check(self) -> None:
        """Refuse a budget that does not train all networks for an epoch.

        Raises:
            UsageError: it is too small.
        """
        most = self.seeds + self.controls
        if self.budget is not None and self.budget < most:
            raise UsageError(
                f"{self.budget} epochs do not train {most} networks, {self.seeds} found and"
                f" {self.controls} random: give at least {most}."
            )


class RepeatJob(Repeats, SearchJob):
    """Searches that differ by their seeds alone, and the selection that ends them.

    What its folder holds at the end is what a search's does.
    """

    kind: ClassVar[str] = "repeat"

    @property
    def searches(self) -> dict[int, SearchJob]:
        """Seed -> its search."""
        common = {name: getattr(self, name) for name in SearchJob.model_fields}
        first = self.search.seed
        return {
            seed: SearchJob(**{**common, "search": self.search.model_copy(update={"seed": seed})})
            for seed in range(first, first + self.seeds)
        }


def repeat_job(search: SearchJob, given: Mapping[str, Any]) -> RepeatJob:
    """Return the job that repeats a search.

    Args:
        search: the first; its seed is the first of all.
        given: fields of `RepeatJob` that were given.

    Raises:
        UsageError: a value does not fit, or the budget does not train all for an epoch.
    """
    fields = {name: getattr(search, name) for name in SearchJob.model_fields}
    job = validated(RepeatJob, {**fields, **given}, "the repeat")
    job.check()
    return job


def begin_or_go_on(path: Path, job: RepeatJob) -> RunFolder:
    """Make the folder of a repeat, or open that of the same one, which was stopped.

    Raises:
        UsageError: the folder holds something else.
    """
    if (path / "config.json").is_file():
        run = RunFolder.open(path)
        content = run.config()
        if content.get("kind") == job.kind and content.get("job") == written(job):
            run.is_under_way = True
            return run
    return begin(path, job)


def repeat_of(run: RunFolder) -> RepeatJob | None:
    """Return the repeat that a folder was made for; None where it is another run's.

    Raises:
        UsageError: its settings do not fit this version.
    """
    content = run.config()
    if content.get("kind") != RepeatJob.kind:
        return None
    return validated(RepeatJob, content.get("job", {}), str(run.config_path))
