"""What runs on the worker of a Ray cluster."""

from __future__ import annotations

import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from importlib import import_module
from pathlib import Path
from shutil import rmtree
from tempfile import gettempdir
from typing import Any, NamedTuple

from nasp.errors import NaspError
from nasp.runs.pool.content import packed, unpack
from nasp.runs.pool.work import Work, Workplace, ended, is_stop
from nasp.runs.pool.worker import sparing


class Content(NamedTuple):
    """What the folder of a work holds by now."""

    files: bytes | None


class Answer(NamedTuple):
    """What comes back from a task.

    Attributes:
        answer: of the work's function.
        error: why it failed.
        seconds: that it took.
        content: of its folder, where that is not shared.
    """

    answer: Any
    error: NaspError | None
    seconds: float = 0.0
    content: Content = Content(None)


class Shared(NamedTuple):
    """How a worker knows whether it sees a work's folder, and what it has where it does not.

    Attributes:
        mark: the name of a file that lies beside the folder.
        content: of the folder.
        every: seconds after which it is brought back while the work goes on.
    """

    mark: str
    content: bytes | None
    every: float


class Post:
    """An actor that holds what workers tell until it is taken."""

    def __init__(self) -> None:
        self._events: list[tuple[str, Any]] = []

    def put(self, key: str, event: Any) -> None:
        """Keep what a work tells."""
        self._events.append((key, event))

    def take(self) -> list[tuple[str, Any]]:
        """Return, and forget, what is there."""
        events, self._events = self._events, []
        return events


def at_work(pickled: bytes, path: list[str], post: Any, shared: Shared) -> Answer:
    """Run a work; a Ray task.

    Args:
        pickled: the work.
        path: where modules are on the driver; what there is of it here is looked through last.
        post: the actor that is told.
        shared: of the work's folder; not read where it has none.
    """
    sys.path += [each for each in path if each not in sys.path]
    work: Work = pickle.loads(pickled)
    ray, last = import_module("ray"), list[Any]()

    def tell(event: Any) -> None:
        last[:] = [post.put.remote(work.key, event)]

    if work.folder is None or (work.folder.parent / shared.mark).is_file():
        answer = _run(work, work.folder, tell)
    else:
        # The same for another attempt on this machine, which so goes on.
        name = blake2b(f"{shared.mark} {work.key}".encode(), digest_size=12).hexdigest()
        here = Path(gettempdir()) / f"nasp-{name}"
        if shared.content is not None and not here.exists():
            unpack(shared.content, here)
        with brought_back(here, shared.every, tell):
            answer = _run(work, here, tell)
        answer = answer._replace(content=Content(packed(here)))
        if is_stop(answer.error):  # of a task that is cancelled nothing else comes back
            tell(answer.content)
        rmtree(here, ignore_errors=True)
    with suppress(ray.exceptions.RayError):
        ray.get(last)  # not before all that was told is there
    return answer


def _run(work: Work, folder: Path | None, tell: Callable[[Any], object]) -> Answer:
    begun = time.monotonic()
    answer, error = ended(work, Workplace(folder, sparing(tell)))
    return Answer(answer, error, time.monotonic() - begun)


@contextmanager
def brought_back(folder: Path, every: float, tell: Callable[[Any], object]) -> Iterator[None]:
    """Tell of the folder's content now and then, where it has changed."""
    over = threading.Event()

    def bring() -> None:
        last = None
        while not over.wait(every):
            files = packed(folder)
            if files is not None and files != last:
                tell(Content(files))
            last = files

    thread = threading.Thread(target=bring, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
