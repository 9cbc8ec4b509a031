"""Works for the tests of pools, in a module that another process can find."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from nasp.errors import NaspError, UsageError
from nasp.runs.interruption import Interrupted, interruptible
from nasp.runs.pool import Workplace


@dataclass(frozen=True)
class Passing:
    number: int
    passes: ClassVar = True


def square(number: int, at: Workplace) -> int:
    print("a library's own words")
    at.tell(f"squaring {number}!")
    return number**2


def process(seconds: float, at: Workplace) -> tuple[int, str | None, str | None]:
    time.sleep(seconds)
    return os.getpid(), os.environ.get("OMP_NUM_THREADS"), os.environ.get("CUDA_VISIBLE_DEVICES")


def many(number: int, at: Workplace) -> None:
    for each in range(number):
        at.tell(Passing(each))


def fail(how: str, at: Workplace) -> None:
    if how == "usage":
        raise UsageError("There is no such thing.")
    if how == "nasp":
        raise NaspError("The loss became nan.")
    raise ValueError("what\nnobody thought of")


def die(number: int, at: Workplace) -> str:
    """Count attempts in the folder, and be killed as often as the request says."""
    assert at.folder is not None
    at.folder.mkdir(exist_ok=True)
    path = at.folder / "attempts"
    done = int(path.read_text()) if path.is_file() else 0
    path.write_text(str(done + 1))
    if done < number:
        os.kill(os.getpid(), signal.SIGKILL)
    return f"at attempt {done + 1}"


def count(steps: int, at: Workplace) -> int:
    """Step until the end or a stop, and go on from the folder; a line a step in its log."""
    assert at.folder is not None
    at.folder.mkdir(exist_ok=True)
    path = at.folder / "log"
    with interruptible() as interruption:
        while (done := len(path.read_text().splitlines()) if path.is_file() else 0) < steps:
            with path.open("a") as stream:
                stream.write(f"{done + 1} {os.getpid()}\n")
            if interruption.asked:
                (at.folder / "saved").touch()
                raise Interrupted
            time.sleep(0.05)
    return done


def sleep(path: str, at: Workplace) -> Any:
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)
