"""A function in a fresh process: its answer, one sentence where it failed, a stop at once."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from typing import Any

import pytest

from nasp.bench.process import answer, in_fresh_process
from nasp.bench.steps.measure import Request, measure_row
from nasp.bench.steps.rounds import ADVICE
from nasp.bench.steps.settings import BenchSettings
from nasp.errors import NaspError, UsageError
from nasp.runs.interruption import Interrupted, Interruption, interruptible

TINY = BenchSettings(space="nasbench201", channels=4, cells=1, batch=2, image_size=8)
REQUEST = Request(row="nasp", settings=TINY)


class Process:
    """One that has ended as it was told to."""

    def __init__(self, returncode: int, stdout: str = "", stderr: str = "") -> None:
        self.returncode = returncode
        self.said = stdout, stderr

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def communicate(self, timeout: float) -> tuple[str, str]:
        return self.said


@pytest.mark.parametrize(
    ("process", "error", "message"),
    [
        (Process(2, stderr="a\nNo such thing."), UsageError, r"^No such thing\.$"),
        (Process(1, stderr="Traceback\nValueError: x"), NaspError, r"ValueError: x.*--rows"),
        (Process(-9), NaspError, r"killed.*memory.*--batch"),
        (Process(0), NaspError, r"gave no result"),
        (Process(0, stdout="{}"), NaspError, r"gave no result"),
    ],
)
def test_a_process_that_fails_is_one_sentence(
    process: Process, error: type[NaspError], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("nasp.bench.process.subprocess.Popen", lambda *_, **__: process)
    with pytest.raises(error, match=message):
        in_fresh_process(measure_row, REQUEST, Interruption(), ADVICE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_ends_the_process_at_once(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Any] = []
    popen = subprocess.Popen

    def sleep(*_: object, **options: Any) -> Any:
        begun.append(popen(["sleep", "60"], **options))
        return begun[0]

    monkeypatch.setattr("nasp.bench.process.subprocess.Popen", sleep)
    threading.Timer(0.3, os.kill, (os.getpid(), number)).start()
    with interruptible() as interruption, pytest.raises(Interrupted):
        in_fresh_process(measure_row, REQUEST, interruption, ADVICE)
    assert begun[0].returncode == -signal.SIGKILL


def test_the_other_end_says_what_was_wrong_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    request = Request(row="floor", settings=TINY.model_copy(update={"space": "mars"}))
    assert answer("nasp.bench.steps.measure:measure_row", request.model_dump_json()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("Unknown search space 'mars'")
    assert len(said.err.splitlines()) == 1
