"""``nasp bench cost``: what one search iteration costs, beside its rivals and its floor.

An iteration is one A step and one w step; the floor is two training steps of the path alone.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nasp.atomic import write_text_atomic
from nasp.bench.rounds import Job, Plan, Say, figures, measure_in_rounds
from nasp.bench.rows import FLOOR, row_names
from nasp.bench.settings import BenchSettings


def measure_cost(
    settings: BenchSettings, rows: Sequence[str] | None, plan: Plan, say: Say
) -> dict[str, Any]:
    """Measure the rows side by side.

    Args:
        settings: network, batch, device: the same for all rows, as is the path.
        rows: their names; None: all.
        plan: how often.
        say: told a line before each measurement.

    Returns:
        ``rows`` (in the order given), ``machine`` and ``settings``, ready for JSON. Ratios are
        of medians, and None where the row that they compare with was not measured.

    Raises:
        UsageError: there is no such row, network or device.
        NaspError: a process failed.
    """
    jobs = [Job(row, settings) for row in dict.fromkeys(rows or row_names())]
    found = measure_in_rounds(jobs, plan, say)
    measured = {job.row: figures(sample) for job, sample in found.items()}
    first = next(iter(found.values()))
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
        "machine": first.machine,
        "settings": {
            **settings.model_dump(),
            **plan.model_dump(),
            "architecture": first.architecture,
        },
    }


def save_report(report: dict[str, Any], path: Path) -> None:
    """Write a report as JSON, atomically.

    Raises:
        NaspError: the file cannot be written.
    """
    write_text_atomic(path, json.dumps(report, indent=2) + "\n")


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
