"""Real processes that start at once: forked from one that has imported torch and nasp.

To start Python with them takes 6 s of a processor. What a command does, prints and ends with, and
what signals do to it, is the same; that it is installed and starts is proved by a few tests.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SERVER = """
import gc, importlib, json, os, pkgutil, signal, sys
gc.disable()
import torch
import nasp, nasp.domains, nasp.spaces, nasp.strategies
torch.set_num_threads(1)
for module in pkgutil.walk_packages(nasp.__path__, "nasp."):
    if "__main__" not in module.name:
        importlib.import_module(module.name)
list(nasp.domains.every_domain()), nasp.spaces.space_names(), nasp.strategies.strategy_names()
signal.signal(signal.SIGINT, signal.default_int_handler)
gc.freeze()
gc.enable()
gc.set_threshold(20_000)
for line in sys.stdin:
    order = json.loads(line)
    if "wait" in order:
        print(os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1]), flush=True)
        continue
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        continue
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(order[name], os.O_CREAT | os.O_WRONLY | os.O_TRUNC), descriptor)
    sys.stdin.close()
    code = 1
    try:
        os.chdir(order["cwd"])
        sys.argv = ["nasp", *order["argv"]]
        names = {}
        exec(order["first"], names)
        if order["argv"]:
            nasp.cli.main()
        code = 0
    except SystemExit as exit:
        code = exit.code or 0
    except BaseException:
        import traceback
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
"""

WITHOUT_NASP = """
import sys
for name in [name for name in sys.modules if name.partition(".")[0] == "nasp"]:
    sys.modules[name] = None  # an import of it fails
"""


class Server:
    """Forks processes that have all of nasp imported.

    Args:
        folder: to keep in what they print.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        )
        self.count = 0

    def _ask(self, order: dict[str, Any]) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def start(self, argv: Sequence[object], first: str = "", cwd: Path | str = "") -> Child:
        """Run `first`, then the command if there is one, in the folder `cwd`."""
        self.count += 1
        out, err = (self.folder / f"{self.count}.{kind}" for kind in ("out", "err"))
        out.touch()  # so that they can be read at once
        err.touch()
        order = {"argv": [*map(str, argv)], "first": first, "cwd": str(Path(cwd).absolute())}
        return Child(self, self._ask({**order, "out": str(out), "err": str(err)}), out, err)

    def run(self, argv: Sequence[object], first: str = "", cwd: Path | str = "") -> Child:
        """The same, until it ends."""
        child = self.start(argv, first, cwd)
        child.wait()
        return child

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(10)


class Child:
    """A process of the server's."""

    def __init__(self, server: Server, pid: int, out: Path, err: Path) -> None:
        self.server, self.pid = server, pid
        self._out, self._err = out, err
        self.code: int | None = None

    def wait(self) -> int:
        self.code = self.server._ask({"wait": self.pid})
        return self.code

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        os.kill(self.pid, number)
        return self.wait()

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()
