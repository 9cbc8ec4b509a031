"""``nasp bench scale``: how time and memory grow with the supernet and the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from nasp.bench.results import Measurements, Results
from nasp.bench.steps.rounds import (
    MeasuredRow,
    Repetition,
    figures,
    measure_in_rounds,
    samples_by_name,
)
from nasp.bench.steps.settings import BenchSettings
from nasp.errors import UsageError, unknown_name, validated
from nasp.training.events import Observer

SERIES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "candidates": (2, 4, 7, 12, 16),
        "cells": (3, 5, 8),
        "channels": (8, 16, 32),
        "batch": (8, 16, 32, 64),
    }
)
"""What is varied, one at a time, and over which values."""

SEPARATOR = ", "


class Varied(NamedTuple):
    """One value of one series, and all settings there."""

    series: str
    value: int
    settings: BenchSettings


def measure_scale(
    settings: BenchSettings,
    series: Mapping[str, Sequence[int]],
    rows: Sequence[str],
    repetition: Repetition,
    path: Path | None,
    observe: Observer,
) -> Results:
    """Measure the rows at every value of every series, all else as in `settings`.

    Args:
        settings: what is not varied.
        series: ``candidates``, ``cells``, ``channels`` or ``batch`` -> its values.
        rows: names of rows of `nasp.bench.steps.rows`.
        repetition: how often.
        path: the results' file, which is taken up where it exists; its other rows stay.
        observe: told before each measurement.

    Returns:
        The results. Their report has ``points``, ``machine`` and ``settings``.

    Raises:
        UsageError: there is no such series, row, network or device, or the file has other
            settings.
        NaspError: the file cannot be written.
        Interrupted: Ctrl-C or SIGTERM; what was measured is kept.
    """
    if not rows or not any(series.values()):
        raise UsageError("There is nothing to measure: give at least one series and one row.")
    varied = [point for name in series for point in _points(settings, name, series[name])]
    # A setting that two series have in common has one name, and is measured once.
    measured = {
        _name(settings, p, row): MeasuredRow(row, p.settings) for p in varied for row in rows
    }
    results = Results(
        path,
        "scale",
        {**settings.model_dump(), **repetition.model_dump(), "series": dict(series)},
        lambda measurements: _summary(settings, varied, measurements),
        one_machine=True,
    )
    measure_in_rounds(measured, repetition, results, observe)
    return results


def _points(settings: BenchSettings, series: str, values: Sequence[int]) -> list[Varied]:
    if series not in SERIES:
        raise unknown_name("series", series, list(SERIES))
    points = []
    for value in dict.fromkeys(values):
        changes: dict[str, Any] = {series: value}
        if series == "candidates":
            # One path for all: else a step would be dearer for another path, not for more rivals.
            changes["path_candidates"] = min(values)
        varied = validated(BenchSettings, {**settings.model_dump(), **changes}, "the series")
        points.append(Varied(series, value, varied))
    return points


def _name(settings: BenchSettings, point: Varied, row: str) -> str:
    """Return the row, and where the point departs from what is not varied."""
    here, base = point.settings.model_dump(), settings.model_dump()
    return SEPARATOR.join([row, *(f"{k}={v}" for k, v in here.items() if v != base[k])])


def _summary(
    settings: BenchSettings, points: Sequence[Varied], measurements: Measurements
) -> dict[str, Any]:
    found = samples_by_name(measurements)
    rows = dict.fromkeys(name.partition(SEPARATOR)[0] for name in found)
    first = next(iter(found.values()), None)
    return {
        "points": [
            {"series": point.series, "value": point.value, "name": row, **figures(found[name])}
            for point in points
            for row in rows
            if (name := _name(settings, point, row)) in found
        ],
        "machine": first and first.machine,
    }
