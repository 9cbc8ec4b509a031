"""One measurement in a fresh process: what ran before it, or beside it, leaves no trace in it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from nasp.errors import NaspError, UsageError
from nasp.runs.interruption import Interrupted, Interruption

Request = TypeVar("Request", bound=BaseModel)
Answer = TypeVar("Answer", bound=BaseModel)
KILLED = -9
"""The exit code of a process that the system ended; Windows has no name for the signal."""
POLL_SECONDS = 0.2
"""How often the parent looks whether it was asked to stop."""


def ask(
    module: str,
    request: BaseModel,
    answers: type[Answer],
    threads: int | None,
    interruption: Interruption,
    advice: str,
) -> Answer:
    """Run ``python -m MODULE REQUEST`` and return what it answers.

    Args:
        module: its other end is `answer`.
        request: what it is asked.
        answers: the type of what it answers.
        threads: of torch and OpenMP; None leaves it to them.
        interruption: asked for a stop, the process is ended.
        advice: what the user can do where it failed.

    Raises:
        UsageError: the process ended with exit code 2.
        NaspError: it failed.
        Interrupted: a stop was asked for.
    """
    environment = dict(os.environ)
    if threads is not None:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            environment[name] = str(threads)
    with subprocess.Popen(
        [sys.executable, "-m", module, request.model_dump_json()],
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
    if process.returncode == KILLED:
        last_words = "it was killed, most likely for want of memory"
    if process.returncode != 0:
        raise NaspError(f"The process failed ({last_words}); {advice}.")
    try:
        return answers.model_validate_json(output.strip().splitlines()[-1])
    except (IndexError, ValidationError) as error:
        raise NaspError("The process gave no result.") from error


def answer(text: str, request: type[Request], run: Callable[[Request], BaseModel]) -> int:
    """Be the other end of `ask`: answer a request on standard output.

    Args:
        text: the request as JSON.
        request: its type.
        run: from the request to the answer.

    Returns:
        The exit code; where it is not 0, one sentence stands on standard error.
    """
    try:
        found = run(request.model_validate_json(text))
    except NaspError as error:
        sys.stderr.write(f"{error}\n")
        return 2 if isinstance(error, UsageError) else 1
    sys.stdout.write(f"{found.model_dump_json()}\n")
    return 0


def _communicate(process: subprocess.Popen[str], interruption: Interruption) -> tuple[str, str]:
    while True:
        try:
            return process.communicate(timeout=POLL_SECONDS)
        except subprocess.TimeoutExpired:
            if interruption.asked:
                process.kill()
