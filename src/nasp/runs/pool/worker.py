"""The process in which works run: ``python -m nasp.runs.pool.worker``.

It reads works from its standard input and writes what they tell and answer to its standard output.
It ends with whoever began it, for then its input ends: no work is left over, however that one died.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Any

from nasp.errors import NaspError
from nasp.runs.pool.work import Work, Workplace, ended

MOST_OFTEN = 0.2
"""Seconds between two events that pass, of which nobody needs each one."""


def send(message: Any, stream: IO[bytes]) -> None:
    """Write a message; in two layers, so that who reads the stream need not understand it."""
    stream.write(pickle.dumps(pickle.dumps(message)))
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """Return the next message as it was pickled; None where there is none, or but a part of one."""
    try:
        message: bytes = pickle.load(stream)
    except (EOFError, OSError, ValueError, pickle.UnpicklingError):
        return None
    return message


def sparing(tell: Callable[[Any], object]) -> Callable[[Any], None]:
    """Return what hands on all but those passing events that follow each other too closely."""
    last = 0.0

    def hand_on(event: Any) -> None:
        nonlocal last
        if getattr(event, "passes", False):
            now = time.monotonic()
            if now - last < MOST_OFTEN:
                return
            last = now
        tell(event)

    return hand_on


def main() -> None:
    """Run works until there are no more: send (event,), or (answer, error) at a work's end."""
    # Who began this process says when it stops; a terminal's Ctrl-C is for that one alone.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what libraries print is no answer
    sys.path[:] = pickle.loads(receive(sys.stdin.buffer) or pickle.dumps(sys.path))
    asked: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(asked,), daemon=True).start()
    tell = sparing(lambda event: send((event,), answers))
    while True:
        message = asked.get()
        try:
            work: Work = pickle.loads(message)
        except Exception as error:  # such as a function of a module that is not here
            send((None, NaspError(f"{type(error).__name__}: {error}")), answers)
        else:
            send(ended(work, Workplace(work.folder, tell)), answers)


def _listen(asked: queue.SimpleQueue[bytes]) -> None:
    while (message := receive(sys.stdin.buffer)) is not None:
        asked.put(message)
    os._exit(0)


if __name__ == "__main__":
    main()
