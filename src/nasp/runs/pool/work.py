"""A piece of work that stands alone, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from nasp.errors import NaspError
from nasp.runs.interruption import Interrupted, Interruption

Tell = Callable[[str, Any], object]
"""Takes a work's key and what it tells, or a sentence (a `str`) by the pool itself."""


@dataclass(frozen=True)
class Workplace:
    """What a work's function gets beside its request.

    Attributes:
        folder: where it writes and goes on from; the `Work`'s own, or on a machine that does not
            see it a copy, which is brought back. None where the work has none.
        tell: takes what whoever watches may know, such as `nasp.training.events`.
    """

    folder: Path | None
    tell: Callable[[Any], object]


@dataclass(frozen=True)
class Work:
    """A call that needs no other one, wherever it is made.

    Attributes:
        key: its name.
        function: of a module, so that another process finds it; from request and workplace to the
            answer.
        request: picklable, as the answer is.
        folder: its run folder, in which it goes on where it was stopped or lost; default none.
        fresh: run it in a process in which nothing ran before.
        threads: of torch and OpenMP; None leaves it to the pool.
        advice: what the user can do where it broke.
    """

    key: str
    function: Callable[[Any, Workplace], Any]
    request: Any
    folder: Path | None = None
    fresh: bool = False
    threads: int | None = None
    advice: str = "the same command tries it again"


@dataclass(frozen=True)
class Done:
    """A work that is over.

    Attributes:
        key: of the work.
        answer: of its function; None where it failed.
        error: why it failed; None where it did not.
        seconds: that it took, without attempts that were lost.
    """

    key: str
    answer: Any = None
    error: NaspError | None = None
    seconds: float = 0.0


class Pool(Protocol):
    """Runs works; where is its own affair."""

    def run(
        self,
        works: Iterable[Work],
        interruption: Interruption,
        tell: Tell,
        at_once: int | None = None,
    ) -> Generator[Done, None, None]:
        """Run works and hand over each as it comes.

        Args:
            works: each taken when there is room for it, in order.
            interruption: asked for a stop, no other begins, and those under way end.
            tell: takes what the works tell, and which was lost and is tried again.
            at_once: at most so many; None: as many as there is room for.

        Raises:
            Interrupted: a stop was asked for; what was over by then was handed over.
        """
        ...


def ended(work: Work, at: Workplace) -> tuple[Any, NaspError | None]:
    """Run a work in this process, and return its answer, or why it failed, in a sentence."""
    try:
        return work.function(work.request, at), None
    except NaspError as error:
        return None, error
    except Exception as error:
        return None, broken(work, f"{type(error).__name__}: {error}".strip().splitlines()[0])


def broken(work: Work, why: str) -> NaspError:
    """Return the error of a work that ended by an accident."""
    return NaspError(f"The process failed ({why}); {work.advice}.")


def is_stop(error: NaspError | None) -> bool:
    """Tell whether a work ended since it was asked to."""
    return isinstance(error, Interrupted)
