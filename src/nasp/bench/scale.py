"""``nasp bench scale``: how time and memory grow with the supernet and the batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from nasp.bench.rounds import Job, Plan, Say, figures, measure_in_rounds
from nasp.bench.settings import BenchSettings
from nasp.errors import UsageError, unknown_name, validated

SERIES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "candidates": (2, 4, 7, 12, 16),
        "cells": (3, 5, 8),
        "channels": (8, 16, 32),
        "batch": (8, 16, 32, 64),
    }
)
"""What is varied, one at a time, and over which values."""

ROWS = ("nasp", "nasp-plain")
MEASURES = {"arch_seconds": "A step, s", "weight_seconds": "w step, s", "peak_bytes": "peak, MB"}
"""What is drawn, and how its axis is named."""


class Point(NamedTuple):
    """One row at one value of one series."""

    series: str
    value: int
    job: Job


class Curve(NamedTuple):
    """One line of the plot: a row's measure over a series."""

    series: str
    measure: str
    row: str
    values: list[int]
    medians: list[float]
    lows: list[float]
    highs: list[float]


def measure_scale(
    settings: BenchSettings,
    series: Mapping[str, Sequence[int]],
    rows: Sequence[str],
    plan: Plan,
    say: Say,
) -> dict[str, Any]:
    """Measure the rows at every value of every series, all else as in `settings`.

    Args:
        settings: what is not varied.
        series: ``candidates``, ``cells``, ``channels`` or ``batch`` -> its values.
        rows: names of rows of `nasp.bench.rows`.
        plan: how often.
        say: told a line before each measurement.

    Returns:
        ``points``, ``machine`` and ``settings``, ready for JSON.

    Raises:
        UsageError: there is no such series, row, network or device.
        NaspError: a process failed.
    """
    points = [point for name in series for point in _points(settings, name, series[name], rows)]
    if not points:
        raise UsageError("There is nothing to measure: give at least one series and one row.")
    # A setting that two series have in common is measured once.
    found = measure_in_rounds(list(dict.fromkeys(point.job for point in points)), plan, say)
    return {
        "points": [
            {"series": p.series, "value": p.value, "name": p.job.row, **figures(found[p.job])}
            for p in points
        ],
        "machine": found[points[0].job].machine,
        "settings": {**settings.model_dump(), **plan.model_dump()},
    }


def curves(report: Mapping[str, Any]) -> list[Curve]:
    """Return what `nasp.bench.scale_plot.draw` draws: series by series, measure by measure."""
    points = report["points"]
    found = []
    for series in dict.fromkeys(p["series"] for p in points):
        for measure in MEASURES:
            for row in dict.fromkeys(p["name"] for p in points):
                line = [p for p in points if (p["series"], p["name"]) == (series, row)]
                line.sort(key=lambda p: int(p["value"]))
                spreads = [_spread(p[measure]) for p in line]
                found.append(
                    Curve(
                        series,
                        measure,
                        row,
                        [p["value"] for p in line],
                        [s["median"] for s in spreads],
                        [s["min"] for s in spreads],
                        [s["max"] for s in spreads],
                    )
                )
    return found


def _points(
    settings: BenchSettings, series: str, values: Sequence[int], rows: Sequence[str]
) -> list[Point]:
    if series not in SERIES:
        raise unknown_name("series", series, list(SERIES))
    points = []
    for value in dict.fromkeys(values):
        changes: dict[str, Any] = {series: value}
        if series == "candidates":
            # One path for all: else a step would be dearer for another path, not for more rivals.
            changes["path_candidates"] = min(values)
        varied = validated(BenchSettings, {**settings.model_dump(), **changes}, "the series")
        points += [Point(series, value, Job(row, varied)) for row in rows]
    return points


def _spread(figure: Any) -> dict[str, float]:
    if isinstance(figure, dict):
        return figure
    megabytes = figure / 1e6
    return {"median": megabytes, "min": megabytes, "max": megabytes}
