"""Works in this process, one after the other."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable
from dataclasses import replace
from functools import partial

from nasp.errors import NaspError
from nasp.runs.interruption import Interrupted, Interruption
from nasp.runs.pool.processes import Processes
from nasp.runs.pool.work import Done, Tell, Work, Workplace


class InTurn:
    """A pool of one that runs works here; those that need a fresh process in one each.

    Args:
        retries: how often one whose process died is tried again.
    """

    def __init__(self, retries: int = 0) -> None:
        self.retries = retries

    def run(
        self,
        works: Iterable[Work],
        interruption: Interruption,
        tell: Tell,
        at_once: int | None = None,
    ) -> Generator[Done, None, None]:
        """Run works and hand over each as it comes; see `Pool.run`."""
        del at_once
        for work in works:
            if interruption.asked:
                raise Interrupted
            if work.fresh:
                yield from Processes(1, self.retries).run([work], interruption, tell)
                continue
            begun, at = time.monotonic(), Workplace(work.folder, partial(tell, work.key))
            try:
                done = Done(work.key, work.function(work.request, at))
            except Interrupted:
                raise
            except NaspError as error:
                done = Done(work.key, error=error)
            yield replace(done, seconds=time.monotonic() - begun)
