"""One measurement in a fresh process: what ran before it, or beside it, leaves no trace in it.

`run_module` is the parent's side, `answer` the child's.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel

from nasp.errors import NaspError, UsageError
from nasp.interruption import Interrupted, Interruption

RequestT = TypeVar("RequestT", bound=BaseModel)
POLL_SECONDS = 0.2
"""How often the parent looks whether it was asked to stop."""


def run_module(
    module: str, request: str, threads: int | None, interruption: Interruption, advice: str
) -> str:
    """Run ``python -m MODULE REQUEST``; return the last line that it wrote.

    Args:
        module: ends with code 2 for a user's mistake and with 1 for a failure, each with its
            sentence as the last line of standard error.
        request: JSON.
        threads: of torch and OpenMP; None leaves it to them.
        interruption: asked for a stop, the process is ended.
        advice: what the user can do where it failed.

    Raises:
        UsageError: exit code 2.
        NaspError: the process failed.
        Interrupted: a stop was asked for.
    """
    environment = dict(os.environ)
    if threads is not None:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            environment[name] = str(threads)
    with subprocess.Popen(
        [sys.executable, "-m", module, request],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        output, errors = _communicate(process, interruption)
    if interruption.asked:
        raise Interrupted
    last_words = (errors.strip().splitlines() or ["it said nothing"])[-1]
    if process.returncode == 2:
        raise UsageError(last_words)
    if process.returncode == -signal.SIGKILL:
        last_words = "it was killed, most likely for want of memory"
    if process.returncode != 0:
        raise NaspError(f"The process failed ({last_words}); {advice}.")
    lines = output.strip().splitlines()
    if not lines:
        raise NaspError("The process gave no result.")
    return lines[-1]


def answer(text: str, request: type[RequestT], run: Callable[[RequestT], BaseModel]) -> int:
    """Run what a parent asks for, write the result as a line of JSON; return the exit code.

    Args:
        text: the request, JSON.
        request: its model.
        run: what is asked for.
    """
    try:
        result = run(request.model_validate_json(text))
    except NaspError as error:
        sys.stderr.write(f"{error}\n")
        return 2 if isinstance(error, UsageError) else 1
    sys.stdout.write(f"{result.model_dump_json()}\n")
    return 0


def _communicate(process: subprocess.Popen[str], interruption: Interruption) -> tuple[str, str]:
    while True:
        try:
            return process.communicate(timeout=POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if interruption.asked:
                process.kill()
