"""Which work is next: those that were lost, then the others in order."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

from nasp.errors import NaspError
from nasp.runs.pool.work import Tell, Work, broken


class Attempts:
    """Works to be run, each once, and again where its process died.

    Args:
        works: taken one by one.
        retries: how often one is tried again.
        tell: told of each that is.
    """

    def __init__(self, works: Iterable[Work], retries: int, tell: Tell) -> None:
        self._new = iter(works)
        self._again: deque[Work] = deque()
        self._lost: Counter[str] = Counter()
        self._retries = retries
        self._tell = tell

    def next(self) -> Work | None:
        """Return the next work; None where there is none (now)."""
        return self._again.popleft() if self._again else next(self._new, None)

    def lost(self, work: Work, words: str) -> NaspError | None:
        """Return the error of a work that was lost too often; None: it is tried again."""
        self._lost[work.key] += 1
        if self._lost[work.key] > self._retries:
            return broken(work, words)
        self._tell(work.key, f"lost ({words}); tried again")
        self._again.append(work)
        return None
