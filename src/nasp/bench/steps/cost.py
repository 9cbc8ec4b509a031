"""``nasp bench cost``: what one search iteration costs, beside its rivals and its floor.

An iteration is one A step and one w step; the floor is two training steps of the path alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nasp.bench.results import Measurements, Results
from nasp.bench.steps.rounds import (
    MeasuredRow,
    Repetition,
    figures,
    measure_in_rounds,
    samples_by_name,
)
from nasp.bench.steps.rows import FLOOR, rows_of
from nasp.bench.steps.settings import BenchSettings
from nasp.training.events import Observer


def measure_cost(
    settings: BenchSettings,
    rows: Sequence[str] | None,
    repetition: Repetition,
    path: Path | None,
    observe: Observer,
) -> Results:
    """Measure the rows side by side.

    Args:
        settings: network, batch, device: the same for all rows, as is the path.
        rows: their names; None: all.
        repetition: how often.
        path: the results' file, which is taken up where it exists; its other rows stay.
        observe: told before each measurement.

    Returns:
        The results. Their report has ``rows``, ``machine``, ``architecture`` (the path) and
        ``settings``. Ratios are of medians, and None where the row that they compare with was
        not measured.

    Raises:
        UsageError: there is no such row, network or device, or the file has other settings.
        NaspError: the file cannot be written.
        Interrupted: Ctrl-C or SIGTERM; what was measured is kept.
    """
    shared = {**settings.model_dump(), **repetition.model_dump()}
    results = Results(path, "cost", shared, _summary, one_machine=True)
    measured = {row: MeasuredRow(row, settings) for row in rows or rows_of(settings)}
    measure_in_rounds(measured, repetition, results, observe)
    return results


def _summary(measurements: Measurements) -> dict[str, Any]:
    found = samples_by_name(measurements)
    measured = {name: figures(sample) for name, sample in found.items()}
    first = next(iter(found.values()), None)
    return {
        "rows": [
            {
                "name": name,
                **row,
                "ratio_to_nasp": _ratio(row, measured.get("nasp")),
                "ratio_to_floor": _ratio(row, measured.get(FLOOR)),
                "memory_ratio_to_floor": _memory_ratio(row, measured.get(FLOOR)),
            }
            for name, row in measured.items()
        ],
        "machine": first and first.machine,
        "architecture": first and first.architecture,
    }


def _ratio(row: dict[str, Any], other: dict[str, Any] | None) -> float | None:
    if other is None:
        return None
    ratio: float = row["seconds"]["median"] / other["seconds"]["median"]
    return ratio


def _memory_ratio(row: dict[str, Any], other: dict[str, Any] | None) -> float | None:
    if other is None or not other["peak_bytes"]:
        return None
    ratio: float = row["peak_bytes"] / other["peak_bytes"]
    return ratio
