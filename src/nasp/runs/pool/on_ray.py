"""Works on a Ray cluster: of this machine, or of many.

A run folder on storage that the worker sees is written there. Else its content goes along and comes
back: at the end, at a stop, and now and then in between, so that a lost work goes on from there.
"""

from __future__ import annotations

import pickle
import sys
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nasp.errors import NaspError
from nasp.runs.interruption import Interrupted, Interruption
from nasp.runs.pool.attempts import Attempts
from nasp.runs.pool.cluster import Cluster
from nasp.runs.pool.content import packed, unpack
from nasp.runs.pool.processes import GRACE_SECONDS, POLL_SECONDS
from nasp.runs.pool.task import Answer, Content, Post, Shared, at_work
from nasp.runs.pool.work import Done, Tell, Work, is_stop

BACK_SECONDS = 60.0


class OnRay:
    """A pool of Ray tasks.

    Args:
        cluster: where.
        jobs: at most so many works at once; None: as many as there is room for.
        retries: how often a work whose worker or node died is tried again.
        threads: of torch and OpenMP in each, where its work does not say.
        cpus: that each takes of its node; None: as many as it has threads.
        gpus: likewise; a fraction leaves the rest of one to others.
        every: seconds after which the content of a folder that is not shared comes back.

    Raises:
        UsageError: no node has so much for a work.
    """

    def __init__(
        self,
        cluster: Cluster,
        jobs: int | None,
        retries: int,
        threads: int,
        cpus: int | None = None,
        gpus: float = 0.0,
        every: float = BACK_SECONDS,
    ) -> None:
        self.cluster = cluster
        self.jobs = jobs or sys.maxsize
        self.retries = retries
        self.threads = threads
        self.cpus = cpus
        self.gpus = gpus
        self.every = every
        cluster.check_room(cpus or threads, gpus)

    def run(
        self,
        works: Iterable[Work],
        interruption: Interruption,
        tell: Tell,
        at_once: int | None = None,
    ) -> Generator[Done, None, None]:
        """Run works and hand over each as it comes; see `Pool.run`."""
        ray = self.cluster.ray
        post = ray.remote(num_cpus=0, max_restarts=-1)(Post).remote()
        attempts = Attempts(works, self.retries, tell)
        busy: dict[Any, Work] = {}
        asked: dict[Any, float] = {}
        with _marks() as mark:
            try:
                while True:
                    room = self.cluster.room(self.cpus or self.threads, self.gpus)
                    most = max(1, min(room, self.jobs, at_once or self.jobs))
                    while len(busy) < most and not interruption.asked:
                        work = attempts.next()
                        if work is None:
                            break
                        busy[self._begin(work, post, mark)] = work
                    if not busy:
                        break
                    if interruption.asked:
                        self._stop(busy, asked)
                    over, _ = ray.wait(list(busy), num_returns=len(busy), timeout=POLL_SECONDS)
                    self._hear(post, {work.key: work for work in busy.values()}, tell)
                    for ref in over:
                        work = busy.pop(ref)
                        found = self._found(ref, work)
                        if not is_stop(found.error):
                            yield Done(work.key, found.answer, found.error, found.seconds)
                        elif not interruption.asked:
                            error = attempts.lost(work, str(found.error) or "it was stopped")
                            if error is not None:
                                yield Done(work.key, None, error)
            finally:
                for ref in busy:
                    ray.cancel(ref, force=True)
                ray.kill(post)
        if interruption.asked:
            raise Interrupted

    def _begin(self, work: Work, post: Any, mark: Callable[[Path], str]) -> Any:
        threads = work.threads or self.threads
        variables = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
        task = self.cluster.ray.remote(
            num_cpus=self.cpus or threads,
            num_gpus=self.gpus,
            max_calls=int(work.fresh),
            max_retries=0,  # `Attempts` does that, with what came back of the folder
            runtime_env={"env_vars": variables},
        )(at_work)
        shared = Shared("", None, self.every)
        if work.folder is not None:
            shared = Shared(mark(work.folder.parent), packed(work.folder), self.every)
        return task.remote(pickle.dumps(work), sys.path, post, shared)

    def _stop(self, busy: dict[Any, Work], asked: dict[Any, float]) -> None:
        """Ask works to stop, and end those that do not, or have nothing to save."""
        now = time.monotonic()
        for ref, work in busy.items():
            is_late = now - asked.setdefault(ref, now) > GRACE_SECONDS
            if asked[ref] == now or is_late:
                self.cluster.ray.cancel(ref, force=is_late or work.folder is None)

    def _hear(self, post: Any, works: dict[str, Work], tell: Tell) -> None:
        try:
            events = self.cluster.ray.get(post.take.remote())
        except self.cluster.ray.exceptions.RayError:  # it begins anew, with its node or elsewhere
            return
        for key, event in events:
            if key in works:
                if isinstance(event, Content):
                    _bring(event, works[key])
                else:
                    tell(key, event)

    def _found(self, ref: Any, work: Work) -> Answer:
        """Return what came of a task; `Interrupted` where it or its worker was ended."""
        errors = self.cluster.ray.exceptions
        try:
            found: Answer = self.cluster.ray.get(ref)
        except errors.RayTaskError as error:  # such as a function of a module that is not there
            return Answer(None, NaspError(_lines(error)[-1]))
        except errors.RayError as error:
            return Answer(None, Interrupted(_lines(error)[0].partition(". ")[0]))
        _bring(found.content, work)
        return found


def _lines(error: Exception) -> list[str]:
    return f"{error}".strip().splitlines() or [type(error).__name__]


def _bring(content: Content, work: Work) -> None:
    if content.files is not None and work.folder is not None:
        unpack(content.files, work.folder)


@contextmanager
def _marks() -> Iterator[Callable[[Path], str]]:
    """Put files into folders, by whose name a worker knows that it sees the same ones."""
    name, marked = f".shared-{uuid.uuid4().hex}", set[Path]()

    def mark(folder: Path) -> str:
        if folder not in marked:
            folder.mkdir(parents=True, exist_ok=True)
            for left in folder.glob(".shared-*"):  # by a driver that was killed
                left.unlink(missing_ok=True)
            (folder / name).touch()
            marked.add(folder)
        return name

    try:
        yield mark
    finally:
        for folder in marked:
            (folder / name).unlink(missing_ok=True)
