"""Two processes of one run, as a cluster would start them."""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.forks import Child, Server


def two(
    server: Server,
    argv: Sequence[object],
    more: Mapping[str, str] | None = None,
    then: str = "",
    cwd: Path | str = "",
) -> list[Child]:
    """Start a command in two processes that find each other.

    Args:
        server: forks them.
        argv: of the command; empty for none.
        more: further variables of their environment.
        then: what each runs before the command; it knows its `rank`.
        cwd: the folder in which they run.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "NODE_RANK": "0", **(more or {})}
    return [
        server.start(
            argv,
            f"import os\nrank = {rank}\n"
            f"os.environ.update({env!r}, LOCAL_RANK='{rank}', RANK='{rank}')\n{then}",
            cwd,
        )
        for rank in range(2)
    ]
