"""Many measurements in turn, each in a fresh process, so that a busy machine hits all alike."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from nasp.bench.measure import Request, Sample
from nasp.bench.rows import row_names
from nasp.bench.settings import BenchSettings
from nasp.errors import NaspError, UsageError, unknown_name
from nasp.spaces import find_space

Say = Callable[[str], None]


class Plan(BaseModel):
    """How often everything is measured.

    Attributes:
        repeats: timed iterations of each row, in all rounds together, at least 5.
        rounds: how often each row is taken up again, each time in a fresh process.
        warmup: untimed iterations at the start of each process.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    repeats: int = Field(6, ge=5)
    rounds: int = Field(3, ge=1)
    warmup: int = Field(2, ge=1)


class Job(NamedTuple):
    """One row at one setting."""

    row: str
    settings: BenchSettings


def measure_in_rounds(jobs: Sequence[Job], plan: Plan, say: Say) -> dict[Job, Sample]:
    """Measure every job once a round; return what all rounds together found.

    Args:
        jobs: in the order in which they take turns.
        plan: how often.
        say: told a line before each measurement.

    Raises:
        UsageError: there is no such row, space, network or device.
        NaspError: a process failed.
    """
    for job in jobs:
        if job.row not in row_names():
            raise unknown_name("row", job.row, row_names())
        find_space(job.settings.space)  # raises before an hour is spent on the jobs before it
    found: dict[Job, list[Sample]] = {job: [] for job in jobs}
    rounds = min(plan.rounds, plan.repeats)
    for turn in range(rounds):
        # The timed iterations are dealt out evenly, the first rounds take the rest.
        repeats = plan.repeats // rounds + (turn < plan.repeats % rounds)
        for index, job in enumerate(found):
            say(f"round {turn + 1}/{rounds}, {index + 1}/{len(found)}: {job.row}")
            request = Request(
                row=job.row,
                settings=job.settings,
                warmup=plan.warmup,
                repeats=repeats,
                flops=turn == 0,
            )
            found[job].append(measure_in_process(request))
    return {job: _together(samples) for job, samples in found.items()}


def measure_in_process(request: Request) -> Sample:
    """Measure a row in a fresh process.

    Raises:
        UsageError: there is no such row, network or device.
        NaspError: the process failed.
    """
    environment = dict(os.environ)
    if request.settings.threads is not None:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            environment[name] = str(request.settings.threads)
    done = subprocess.run(
        [sys.executable, "-m", "nasp.bench.measure", request.model_dump_json()],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    last_words = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    if done.returncode == 2:
        raise UsageError(last_words)
    if done.returncode == -signal.SIGKILL:
        last_words = "it was killed, most likely for want of memory"
    if done.returncode != 0:
        raise NaspError(
            f"Row '{request.row}' cannot be measured ({last_words}): give a smaller --batch, or"
            " leave it out by --rows."
        )
    try:
        return Sample.model_validate_json(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValidationError) as error:
        raise NaspError(f"The process that measured row '{request.row}' gave no result.") from error


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Return median, minimum and maximum."""
    return {
        "median": statistics.median(seconds),
        "min": min(seconds),
        "max": max(seconds),
    }


def figures(sample: Sample) -> dict[str, Any]:
    """Return a row's figures as both reports give them; seconds are of an A and a w step."""
    pairs = zip(sample.arch_seconds, sample.weight_seconds, strict=True)
    samples = [arch + weight for arch, weight in pairs]
    return {
        "seconds": spread(samples),
        "peak_bytes": sample.peak_bytes,
        "flops": sample.flops,
        "arch_seconds": spread(sample.arch_seconds),
        "weight_seconds": spread(sample.weight_seconds),
        "samples": samples,
        "idle_bytes": sample.idle_bytes,
        "peak_source": sample.peak_source,
    }


def _together(samples: Sequence[Sample]) -> Sample:
    first = samples[0]
    highest = max(samples, key=lambda sample: sample.peak_bytes)
    return first.model_copy(
        update={
            "arch_seconds": [s for sample in samples for s in sample.arch_seconds],
            "weight_seconds": [s for sample in samples for s in sample.weight_seconds],
            "peak_bytes": highest.peak_bytes,
            "idle_bytes": highest.idle_bytes,
        }
    )
