"""A function in a fresh process: what ran before it, or beside it, leaves no trace in it.

``python -m nasp.bench.process MODULE:FUNCTION REQUEST`` is the other end (JSON both ways).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TypeVar, get_type_hints

from pydantic import BaseModel, ValidationError

from nasp.errors import NaspError, UsageError
from nasp.runs.interruption import Interrupted, Interruption

Request = TypeVar("Request", bound=BaseModel)
Answer = TypeVar("Answer", bound=BaseModel)
KILLED = -9
"""The exit code of a process that the system ended; Windows has no name for the signal."""
POLL_SECONDS = 0.2
"""How often the parent looks whether it was asked to stop."""


def in_fresh_process(
    function: Callable[[Request], Answer],
    request: Request,
    interruption: Interruption,
    advice: str,
    threads: int | None = None,
) -> Answer:
    """Call a function in a process of its own.

    Args:
        function: stands in a module; its annotations name the types of request and answer.
        request: its argument.
        interruption: asked for a stop, the process is ended.
        advice: what the user can do where it failed.
        threads: of torch and OpenMP; None leaves it to them.

    Raises:
        UsageError: the function raised one.
        NaspError: it failed.
        Interrupted: a stop was asked for.
    """
    environment = dict(os.environ)
    if threads is not None:
        environment.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)))
    name = f"{function.__module__}:{function.__qualname__}"
    with subprocess.Popen(
        [sys.executable, "-m", "nasp.bench.process", name, request.model_dump_json()],
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
    answers: type[Answer] = get_type_hints(function)["return"]
    try:
        return answers.model_validate_json(output.strip().splitlines()[-1])
    except (ValidationError, IndexError) as error:
        raise NaspError("The process gave no result.") from error


def answer(name: str, request: str) -> int:
    """Be the other end of `in_fresh_process`: write the function's answer on standard output.

    Args:
        name: ``MODULE:FUNCTION``.
        request: as JSON.

    Returns:
        The exit code; where it is not 0, one sentence stands on standard error.
    """
    module, _, attribute = name.partition(":")
    function = getattr(import_module(module), attribute)
    asked = next(kind for kind in get_type_hints(function).values())
    try:
        found = function(asked.model_validate_json(request))
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


if __name__ == "__main__":
    sys.exit(answer(*sys.argv[1:]))
