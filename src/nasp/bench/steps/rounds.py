"""Many measurements in turn, each in a fresh process, so that a busy machine hits all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from nasp.bench.results import Measurements, Results
from nasp.bench.steps.measure import Request, Sample
from nasp.bench.steps.process import ask
from nasp.bench.steps.rows import check_row, check_settings
from nasp.bench.steps.settings import BenchSettings
from nasp.errors import NaspError
from nasp.runs.interruption import Interrupted, Interruption, interruptible
from nasp.training.events import Measuring, Observer

ROUND = ", round "


class Plan(BaseModel):
    """How often everything is measured."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    repeats: int = Field(6, ge=5)
    """Timed iterations of each row, in all rounds together."""
    rounds: int = Field(3, ge=1)
    """Times the rows take turns, each in a fresh process."""
    warmup: int = Field(2, ge=1)
    """Untimed iterations at the start of each process."""

    def requests(self, jobs: Mapping[str, Job]) -> dict[str, Request]:
        """Return key -> what to measure, in order: round after round, job after job."""
        rounds = min(self.rounds, self.repeats)
        return {
            f"{name}{ROUND}{turn + 1}": Request(
                row=job.row,
                settings=job.settings,
                warmup=self.warmup,
                # The timed iterations are dealt out evenly, the first rounds take the rest.
                repeats=self.repeats // rounds + (turn < self.repeats % rounds),
                flops=turn == 0,
            )
            for turn in range(rounds)
            for name, job in jobs.items()
        }


class Job(NamedTuple):
    """One row at one setting."""

    row: str
    settings: BenchSettings


def measure_in_rounds(
    jobs: Mapping[str, Job], plan: Plan, results: Results, observe: Observer
) -> None:
    """Measure every job once a round, but for what `results` has already.

    Args:
        jobs: name -> row and settings, in the order in which they take turns.
        plan: how often.
        results: gets each measurement, or why a job failed; the others then go on without it.
        observe: told before each measurement.

    Raises:
        UsageError: there is no such row, space, network or device.
        NaspError: the machine is another than that of the results so far.
        Interrupted: Ctrl-C or SIGTERM; what was measured is kept.
    """
    # All of them, before an hour is spent on the first.
    for row in {job.row: None for job in jobs.values()}:
        check_row(row)
    for settings in {job.settings: None for job in jobs.values()}:
        check_settings(settings)
    requests = plan.requests(jobs)
    with interruptible() as interruption:
        while missing := [k for k in results.missing(requests) if _name(k) not in results.failed]:
            key, left = missing[0], _seconds_left(missing, results.measurements)
            observe(Measuring(key, len(requests) - len(missing), len(requests), left))
            start = time.monotonic()
            try:
                sample = measure_in_process(requests[key], interruption)
            except Interrupted as error:
                raise Interrupted(results.stopped(len(missing))) from error
            except NaspError as error:
                results.fail(_name(key), str(error))
                continue
            _check_machine(sample, results)
            wall = time.monotonic() - start
            results.add(key, {"wall_seconds": wall, "sample": sample.model_dump()})


def measure_in_process(request: Request, interruption: Interruption) -> Sample:
    """Measure a row in a fresh process.

    Raises:
        NaspError: the process failed.
        Interrupted: a stop was asked for; the process is ended.
    """
    return ask(
        "nasp.bench.steps.measure",
        request,
        Sample,
        request.settings.threads,
        interruption,
        "give a smaller --batch, or leave it out by --rows",
    )


def samples_by_name(measurements: Measurements) -> dict[str, Sample]:
    """Return job's name -> what all its rounds so far found, put together."""
    found: dict[str, list[Sample]] = {}
    for key, value in measurements.items():
        found.setdefault(_name(key), []).append(Sample.model_validate(value["sample"]))
    return {name: _together(samples) for name, samples in found.items()}


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


def _name(key: str) -> str:
    return key.rpartition(ROUND)[0]


def _seconds_left(missing: Sequence[str], measurements: Measurements) -> float | None:
    """Estimate from what the same jobs, or where there are none yet the others, have taken."""
    taken: dict[str, float] = {
        _name(key): value["wall_seconds"] for key, value in measurements.items()
    }
    if not taken:
        return None
    mean = statistics.fmean(taken.values())
    return sum(taken.get(_name(key), mean) for key in missing)


def _check_machine(sample: Sample, results: Results) -> None:
    earlier = next(iter(results.measurements.values()), None)
    if earlier is not None and earlier["sample"]["machine"] != sample.machine:
        raise NaspError(
            f"{results.path} was measured on another machine, or with other versions or threads:"
            " its figures cannot be compared with this one's; give another file."
        )


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
