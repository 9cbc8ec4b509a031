"""Measurements one after the other: what fails or is stopped loses nothing else."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from nasp.bench.results import Results
from nasp.errors import NaspError
from nasp.runs.interruption import Interrupted, Interruption, interruptible
from nasp.training.events import Measuring, Observer

Measure = Callable[[str, Interruption], Any]


def take_turns(
    keys: Sequence[str],
    measure: Measure,
    results: Results,
    observe: Observer,
    group: Callable[[str], str] = lambda key: key,
    is_lost: Callable[[str], bool] = lambda _: False,
) -> None:
    """Measure all that the results lack.

    Args:
        keys: of the measurements, in order.
        measure: from a key to a JSON value; an `Interrupted` that it raises ends the turns.
        results: get each value, or why a measurement failed; the others then go on.
        observe: told before each measurement.
        group: the name of those that take about as long as this one.
        is_lost: whether a measurement has become impossible, by a failure of another.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; what was measured is kept.
    """
    taken: dict[str, list[float]] = {}
    with interruptible() as interruption:
        while missing := [key for key in results.missing(keys) if not is_lost(key)]:
            key = missing[0]
            left = _seconds_left([group(k) for k in missing], taken)
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
            taken.setdefault(group(key), []).append(time.monotonic() - start)
            results.add(key, value)


def _seconds_left(groups: Sequence[str], taken: dict[str, list[float]]) -> float | None:
    """Estimate from what others of the same group, or else all, have taken in this call."""
    if not taken:
        return None
    means = {name: statistics.fmean(seconds) for name, seconds in taken.items()}
    overall = statistics.fmean(means.values())
    return sum(means.get(name, overall) for name in groups)
