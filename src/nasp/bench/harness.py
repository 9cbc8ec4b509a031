"""The loop of every command that measures much: one after the other, each once.

What is measured already is not measured again; what fails or is stopped loses nothing else.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from nasp.bench.results import Measurements, Results
from nasp.errors import NaspError
from nasp.runs.interruption import Interrupted, Interruption, interruptible
from nasp.training.events import Measuring, Observer

Measure = Callable[[str, Interruption], dict[str, Any]]


def measure_missing(
    keys: Sequence[str],
    measure: Measure,
    results: Results,
    observe: Observer,
    is_lost: Callable[[str], bool] = lambda _: False,
) -> None:
    """Measure all that the results lack.

    Args:
        keys: of the measurements, in order.
        measure: from a key to a JSON object, which is kept with its ``wall_seconds``; an
            `Interrupted` that it raises ends the loop.
        results: get each measurement, or why it failed; the others then go on.
        observe: told before each measurement.
        is_lost: whether a measurement has become impossible, by a failure of another.

    Raises:
        NaspError: the results' file cannot be written, or takes no figures of this machine.
        Interrupted: Ctrl-C or SIGTERM; what was measured is kept.
    """
    with interruptible() as interruption:
        while missing := [key for key in results.missing(keys) if not is_lost(key)]:
            key, left = missing[0], seconds_left(missing, results.measurements)
            observe(Measuring(key, len(keys) - len(missing), len(keys), left))
            start = time.monotonic()
            try:
                if interruption.asked:
                    raise Interrupted
                value = measure(key, interruption)
            except Interrupted as error:
                raise Interrupted(results.stopped(len(missing))) from error
            except NaspError as error:
                results.fail(key, str(error))
                continue
            results.add(key, {**value, "wall_seconds": time.monotonic() - start})


def seconds_left(missing: Sequence[str], measurements: Measurements) -> float | None:
    """Estimate from what measurements that are alike, or else all, have taken.

    Alike are those whose keys differ after their last comma alone: ``"nasp, seed 3"``.
    """
    taken: dict[str, list[float]] = {}
    for key, value in measurements.items():
        if "wall_seconds" in value:  # files of before lack it
            taken.setdefault(_alike(key), []).append(value["wall_seconds"])
    if not taken:
        return None
    means = {name: statistics.fmean(seconds) for name, seconds in taken.items()}
    overall = statistics.fmean(means.values())
    return sum(means.get(_alike(key), overall) for key in missing)


def _alike(key: str) -> str:
    return key.rpartition(", ")[0] or key
