"""The loop of every command that measures much: each once, in turn or several at once.

What is measured already is not measured again; what fails or is stopped loses nothing else.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any

from nasp.bench.results import Measurements, Results
from nasp.runs.interruption import Interrupted, interruptible
from nasp.runs.pool import InTurn, Pool, Work
from nasp.training.events import Event, Measured, Measuring, Noted, Observer, elsewhere

WorkOf = Callable[[str], Work]
Kept = Callable[[str, Any], dict[str, Any]]


def measure_missing(
    keys: Sequence[str],
    work_of: WorkOf,
    results: Results,
    observe: Observer,
    pool: Pool | None = None,
    kept: Kept = lambda _, answer: answer,
    is_lost: Callable[[str], bool] = lambda _: False,
    at_once: int | None = None,
) -> None:
    """Measure all that the results lack.

    Args:
        keys: of the measurements, in order.
        work_of: from a key to what measures; asked when there is room for it.
        results: get each measurement, or why it failed; the others then go on.
        observe: told before and after each measurement, and what happens within: where that is
            in another process, as `Within`.
        pool: runs them; default this process, one after the other.
        kept: from a key and its answer to the JSON object that is kept, with its
            ``wall_seconds``; default the answer.
        is_lost: whether a measurement has become impossible, by a failure of another.
        at_once: at most so many, whatever the pool has room for.

    Raises:
        NaspError: the results' file cannot be written, or takes no figures of this machine.
        Interrupted: Ctrl-C or SIGTERM; what was measured is kept.
    """
    pool = pool or InTurn()
    is_alone = isinstance(pool, InTurn) or at_once == 1
    under_way: dict[str, Work] = {}

    def missing() -> list[str]:
        return [key for key in results.missing(keys) if not is_lost(key)]

    def left() -> float | None:
        found = seconds_left(missing(), results.measurements)
        return None if found is None else found / max(1, len(under_way))

    def works() -> Iterator[Work]:
        while waiting := [key for key in missing() if key not in under_way]:
            key = waiting[0]
            observe(Measuring(key, len(keys) - len(waiting), len(keys), left(), is_alone))
            results.begin(key)
            under_way[key] = work_of(key)
            yield under_way[key]

    def tell(key: str, event: Any) -> None:
        if isinstance(pool, InTurn) and not under_way[key].fresh and not isinstance(event, str):
            observe(event)
        else:
            observe(elsewhere(key, event))

    with interruptible() as interruption:
        try:
            with closing(pool.run(works(), interruption, tell, at_once)) as over:
                for done in over:
                    if done.error is None:
                        value = kept(done.key, done.answer)
                        results.add(done.key, {**value, "wall_seconds": done.seconds})
                    else:
                        results.fail(done.key, str(done.error))
                    del under_way[done.key]
                    count, failure = len(keys) - len(missing()), results.failed.get(done.key)
                    observe(Measured(done.key, count, len(keys), done.seconds, left(), failure))
        except Interrupted as error:
            raise Interrupted(results.stopped(len(missing()))) from error


def announced(observe: Observer, pool: Pool | None) -> Observer:
    """Return what tells an observer of runs one after the other, each of which has its own bar.

    In turn a measurement is announced by a line; those beside one another are shown as they are.
    """

    def announce(event: Event) -> None:
        if not isinstance(event, Measuring | Measured) or not isinstance(pool or InTurn(), InTurn):
            observe(event)
        elif isinstance(event, Measuring):
            observe(Noted(f"[{event.done + 1}/{event.total}] {event.what}"))

    return announce


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
