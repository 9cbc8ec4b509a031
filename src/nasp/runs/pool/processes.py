"""Works in processes of this machine, several at once."""

from __future__ import annotations

import os
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import suppress

from nasp.runs.interruption import Interrupted, Interruption
from nasp.runs.pool.attempts import Attempts
from nasp.runs.pool.work import Done, Tell, Work, is_stop
from nasp.runs.pool.worker import receive, send

POLL_SECONDS = 0.2
"""How often a pool looks whether it was asked to stop."""
GRACE_SECONDS = 60.0
"""How long works with a run folder, asked to stop, have to save what they did."""
KILLED = -9
"""The exit code of a process that the system ended; Windows has no name for the signal."""


class Processes:
    """A pool of processes; each is used again, unless a work needs a fresh one.

    Args:
        jobs: works at once.
        retries: how often a work whose process died is tried again.
        threads: of torch and OpenMP in each, where its work does not say; None leaves it to them.
        gpus: what CUDA_VISIBLE_DEVICES is for the first, second, … of the works at once; default
            what it is here.
    """

    def __init__(
        self,
        jobs: int = 1,
        retries: int = 0,
        threads: int | None = None,
        gpus: Sequence[str] = (),
    ) -> None:
        self.jobs = jobs
        self.retries = retries
        self.threads = threads
        self.gpus = gpus

    def run(
        self,
        works: Iterable[Work],
        interruption: Interruption,
        tell: Tell,
        at_once: int | None = None,
    ) -> Generator[Done, None, None]:
        """Run works and hand over each as it comes; see `Pool.run`."""
        places = range(min(self.jobs, at_once or self.jobs))
        inbox: _Inbox = queue.SimpleQueue()
        free = [_Place(inbox, self.gpus[n] if self.gpus else None) for n in places]
        everywhere, busy = list(free), dict[_Place, Work]()
        attempts = Attempts(works, self.retries, tell)
        try:
            while True:
                while free and not interruption.asked:
                    work = attempts.next()
                    if work is None:
                        break
                    place = free.pop(0)
                    place.begin(work, work.threads or self.threads)
                    busy[place] = work
                if not busy:
                    break
                if interruption.asked:
                    for place, work in busy.items():
                        place.stop(at_once=work.folder is None)
                try:
                    place, process, message = inbox.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    continue
                if process is not place.process:
                    continue  # of one that was ended
                said = None if message is None else pickle.loads(message)
                if said is not None and len(said) == 1:
                    tell(busy[place].key, said[0])
                    continue
                words = place.last_words() if said is None else "it was asked to stop"
                if place not in busy:
                    continue  # it died between two works
                work = busy.pop(place)
                free.append(place)
                if said is not None and not is_stop(said[1]):
                    yield Done(work.key, said[0], said[1], place.seconds())
                elif not interruption.asked and (error := attempts.lost(work, words)) is not None:
                    yield Done(work.key, None, error, place.seconds())
        finally:
            for place in everywhere:
                place.clear()
        if interruption.asked:
            raise Interrupted


class _Place:
    """Where one work at a time runs: at most one process, and what it says.

    Args:
        inbox: gets what a process says, None at its end.
        gpus: see `Processes`.
    """

    def __init__(self, inbox: _Inbox, gpus: str | None) -> None:
        self._inbox = inbox
        self._gpus = gpus
        self.process: subprocess.Popen[bytes] | None = None
        self._threads: int | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `clear`
        self._begun = 0.0
        self._asked_to_stop: float | None = None

    def begin(self, work: Work, threads: int | None) -> None:
        if work.fresh or threads != self._threads:
            self._end()
        self._begun, self._asked_to_stop = time.monotonic(), None
        if self.process is None:
            self._threads = threads
            self.process = self._start()
        assert self.process.stdin is not None
        with suppress(OSError):  # it died: its end is in the inbox
            send(work, self.process.stdin)

    def seconds(self) -> float:
        """Return how long the work has been under way."""
        return time.monotonic() - self._begun

    def stop(self, at_once: bool) -> None:
        """Ask the work to stop, and end it where it does not."""
        assert self.process is not None
        now = time.monotonic()
        if self._asked_to_stop is None and not at_once:
            self._asked_to_stop = now
            self.process.terminate()
        elif at_once or now - (self._asked_to_stop or now) > GRACE_SECONDS:
            self.process.kill()

    def last_words(self) -> str:
        """Return how the process ended."""
        assert self.process is not None
        code = self.process.wait()
        self.process = None
        if code == KILLED:
            return "it was killed, most likely for want of memory"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

    def clear(self) -> None:
        """End what still runs."""
        self._end()
        self._errors.close()

    def _start(self) -> subprocess.Popen[bytes]:
        own: dict[str, str] = {}
        if self._threads is not None:
            own |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(self._threads))
        if self._gpus is not None:
            own["CUDA_VISIBLE_DEVICES"] = self._gpus
        self._errors.seek(0)
        self._errors.truncate()
        process = subprocess.Popen(
            [sys.executable, "-m", "nasp.runs.pool.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, **own},
            # A terminal's Ctrl-C is for the pool, which lets works with a folder save themselves.
            start_new_session=True,
        )
        assert process.stdin is not None
        send(sys.path, process.stdin)
        threading.Thread(target=self._listen, args=(process,), daemon=True).start()
        return process

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        while (message := receive(process.stdout)) is not None:
            self._inbox.put((self, process, message))
        self._inbox.put((self, process, None))

    def _end(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                with suppress(OSError):
                    stream.close()


_Inbox = queue.SimpleQueue[tuple[_Place, subprocess.Popen[bytes], bytes | None]]
