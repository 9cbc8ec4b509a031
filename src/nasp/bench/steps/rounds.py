"""Rows in rounds, each in a fresh process, so that a busy machine hits all alike."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from nasp.bench.harness import measure_missing
from nasp.bench.results import Measurements, Results
from nasp.bench.steps.measure import Request, Sample, measure_row
from nasp.bench.steps.rows import check_row, check_settings
from nasp.bench.steps.settings import BenchSettings
from nasp.runs.pool import Work
from nasp.training.events import Observer

ROUND = ", round "
ADVICE = "give a smaller --batch, or leave it out by --rows"


class Repetition(BaseModel):
    """How often everything is measured."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    repeats: int = Field(6, ge=5)
    """Timed iterations of each row, in all rounds together."""
    rounds: int = Field(3, ge=1)
    """Times the rows take turns, each in a fresh process."""
    warmup: int = Field(2, ge=1)
    """Untimed iterations at the start of each process."""

    def requests(self, rows: Mapping[str, MeasuredRow]) -> dict[str, Request]:
        """Return key -> what to measure, in order: round after round, row after row."""
        rounds = min(self.rounds, self.repeats)
        return {
            f"{name}{ROUND}{number + 1}": Request(
                row=measured.row,
                settings=measured.settings,
                warmup=self.warmup,
                # The timed iterations are dealt out evenly, the first rounds take the rest.
                repeats=self.repeats // rounds + (number < self.repeats % rounds),
                counts=number == 0,
            )
            for number in range(rounds)
            for name, measured in rows.items()
        }


class MeasuredRow(NamedTuple):
    """One row at one setting."""

    row: str
    settings: BenchSettings


def measure_in_rounds(
    rows: Mapping[str, MeasuredRow], repetition: Repetition, results: Results, observe: Observer
) -> None:
    """Measure every row once a round, but for what `results` has already.

    Args:
        rows: name -> row and settings, in the order in which they take turns.
        repetition: how often.
        results: gets each measurement, or why a row failed; the others then go on without it.
        observe: told before each measurement.

    Raises:
        UsageError: there is no such row, space, network or device.
        NaspError: the machine is another than that of the results so far.
        Interrupted: Ctrl-C or SIGTERM; what was measured is kept.
    """
    # All of them, before an hour is spent on the first.
    for measured in rows.values():
        check_row(measured.row, measured.settings)
    for settings in {measured.settings: None for measured in rows.values()}:
        check_settings(settings)
    requests = repetition.requests(rows)

    def work_of(key: str) -> Work:
        threads = requests[key].settings.threads
        return Work(key, measure_row, requests[key], None, True, threads, ADVICE)

    measure_missing(
        list(requests),
        work_of,
        results,
        observe,
        kept=lambda _, sample: {"sample": sample.model_dump()},
        is_lost=lambda key: _name(key) in map(_name, results.failed),
    )


def samples_by_name(measurements: Measurements) -> dict[str, Sample]:
    """Return row's name -> what all its rounds so far found, put together."""
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
        "held_bytes": sample.held_bytes,
        "arch_work": sample.arch_work and sample.arch_work.model_dump(),
        "weight_work": sample.weight_work and sample.weight_work.model_dump(),
        "peak_source": sample.peak_source,
    }


def _name(key: str) -> str:
    return key.rpartition(ROUND)[0]


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
