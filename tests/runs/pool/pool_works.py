"""Works for the tests of pools, in a module that another process can find."""

from __future__ import annotations

import os
import shutil
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from nasp.errors import NaspError, UsageError
from nasp.runs.interruption import Interrupted, interruptible
from nasp.runs.pool import Work, Workplace


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


def die_with_node(_: object, at: Workplace) -> str:
    """Be killed in the first attempt, and leave nothing on its machine."""
    assert at.folder is not None
    at.folder.mkdir(exist_ok=True)
    if (at.folder / "progress").is_file():
        return "went on"
    (at.folder / "progress").touch()
    time.sleep(1.0)
    shutil.rmtree(at.folder)
    os.kill(os.getpid(), signal.SIGKILL)
    return "was killed"


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


def log(number: int, at: Workplace) -> dict[str, int]:
    """Write a line where nothing is forgotten: who ran, and when."""
    assert at.folder is not None
    with (at.folder.parent / "log").open("a") as stream:
        stream.write(f"{number} {os.getpid()}\n")
    time.sleep(0.4)
    return {"found": number}


def logs(folder: Path) -> dict[str, Work]:
    return {f"{number}": Work(f"{number}", log, number, folder / "none") for number in range(8)}


def search(job: Any, at: Workplace) -> dict[str, str | None]:
    """Search, and be killed after the first epoch; but not if that is behind it."""
    from nasp.jobs.job import run_of
    from nasp.jobs.search import run_search_job
    from nasp.training.events import EpochEnded, Started

    begun: list[Started] = []

    def observe(event: object) -> None:
        if isinstance(event, Started):
            begun.append(event)
        if isinstance(event, EpochEnded) and event.epoch == 2 and begun[0].epoch == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    assert at.folder is not None
    found = run_search_job(job, run_of(at.folder, job, "the same"), observe)
    return dict(found.architecture.edges)


def sleep(path: str, at: Workplace) -> Any:
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)
