"""The processes of one run, started by Lightning Fabric, torchrun or SLURM, and how they end."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from typing import Any

import torch
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning_fabric.strategies.ddp import DDPStrategy
from lightning_fabric.strategies.launchers.subprocess_script import _SubprocessScriptLauncher
from torch import nn

from nasp.errors import UsageError
from nasp.runs.interruption import Interrupted
from nasp.training.ranks import LOST, RankLostError, Ranks

PARENT = "NASP_RANK_0"
"""The environment variable by which a process knows the one that started it."""
PATIENCE = timedelta(hours=2)
"""How long a process waits for another that is alive."""
GRACE = 10.0
"""Seconds in which a process whose fellow has ended may say so itself."""


class DataParallel(DDPStrategy):
    """Fabric's, without torch's wrapper: `Learner` sends what a step's path has, and no more."""

    def __init__(self) -> None:
        super().__init__(timeout=PATIENCE)

    def setup_module(self, module: nn.Module) -> nn.Module:  # type: ignore[override]
        """Return the module."""
        return module

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        self._launcher = _Launcher(self.cluster_environment, self.num_processes, self.num_nodes)


class _Launcher(_SubprocessScriptLauncher):
    """Starts this command again for each further process of this machine, and minds them."""

    def launch(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Start the processes, unless others do, and call the function."""
        environment = self.cluster_environment
        environment.validate_settings(self.num_processes, self.num_nodes)
        if not environment.creates_processes_externally:
            os.environ[PARENT] = str(os.getpid())
            self._call_children_scripts()
            _mind(self.procs)
        elif _parent() not in (None, os.getpid()) and not torch.distributed.is_initialized():
            _mind_parent()  # once in this process
        return function(*args, **kwargs)


def check_started(size: int) -> None:
    """Refuse to be one of several processes that know nothing of one another.

    Raises:
        UsageError: torchrun started another number of processes than the run is to have.
    """
    if TorchElasticEnvironment.detect():
        started = TorchElasticEnvironment().world_size()
        if started != size:
            raise UsageError(
                f"torchrun started {started} processes, but the run is to have {size}: give as many"
                " --devices (devices=) as torchrun has --nproc-per-node, and as many --nodes."
            )


@contextmanager
def as_one(ranks: Ranks, go_on: Callable[[], str] = lambda: "") -> Iterator[None]:
    """Let the first process speak for all: the others are silent, and end when it does.

    What goes wrong in another one alone is said by that one; that one was lost, by the first.

    Args:
        ranks: this process and the others.
        go_on: how the user goes on with the run; empty where nothing was saved.
    """
    if ranks.is_first:
        try:
            yield
        except RankLostError as error:
            raise RankLostError(_with_advice(str(error), go_on())) from error
        return
    with open(os.devnull, "w") as nowhere:
        try:
            with redirect_stdout(nowhere), redirect_stderr(nowhere):
                yield
        except (KeyboardInterrupt, Interrupted):
            raise SystemExit(1) from None
        except BaseException as error:
            time.sleep(2)  # what is wrong in all of them the first one says, and ends the others
            is_heard = _is_alone() or PARENT not in os.environ
            if isinstance(error, RankLostError):
                if ranks.rank == 1 and is_heard:
                    raise RankLostError(_with_advice(str(error), go_on())) from error
            elif not _is_alone():
                raise
            raise SystemExit(1) from None


def _with_advice(message: str, go_on: str) -> str:
    saved = f" What the last checkpoint holds is safe; go on with: {go_on}" if go_on else ""
    return f"{message}{saved or ' Nothing was saved, since no run folder was given.'}"


def _is_alone() -> bool:
    """Tell whether the process that started this one is gone."""
    return _parent() not in (None, os.getppid())


def _parent() -> int | None:
    number = os.environ.get(PARENT)
    return None if number is None else int(number)


def _mind_parent() -> None:
    def watch() -> None:
        while not _is_alone():
            time.sleep(0.5)
        time.sleep(GRACE)
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="nasp-parent").start()


def _mind(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """End with the others: all of them when this one ends, this one when one of them fails."""

    def end() -> None:
        for process in processes:
            try:
                process.wait(1)
            except subprocess.TimeoutExpired:
                process.kill()

    def watch() -> None:
        while not any(process.poll() for process in processes):
            time.sleep(0.5)
        time.sleep(GRACE)
        # Still here: it waits for the lost one on a device that nobody can call back.
        if sys.__stderr__ is not None:
            sys.__stderr__.write(f"nasp: {LOST}\n")
        end()
        os._exit(1)

    atexit.register(end)
    threading.Thread(target=watch, daemon=True, name="nasp-ranks").start()
