"""A Ray cluster: how one comes to it, and how many jobs it has room for."""

from __future__ import annotations

import logging
import os
import socket
from importlib import import_module
from typing import Any
from urllib.parse import urlsplit

from nasp.errors import NaspError, UsageError

HERE, CLIENT = "ray", "ray://"
SECONDS = 10.0
"""In which a cluster has to answer."""


class Cluster:
    """A cluster that this process is connected to.

    Args:
        address: ``ray`` is that of $RAY_ADDRESS or of this machine, else a new one of this machine
            alone, which ends with this process; ``ray://HOST:PORT`` another one.

    Raises:
        UsageError: no such address, or Ray is not installed.
        NaspError: no cluster answers there.
    """

    def __init__(self, address: str) -> None:
        if address != HERE and not address.startswith(CLIENT):
            raise UsageError(f"--on takes ray or ray://HOST:PORT, not '{address}'.")
        # It would tell its makers of every use, and print what its daemons say.
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
        try:
            self.ray: Any = import_module("ray")
        except ImportError as error:
            raise UsageError("--on ray needs Ray: pip install 'nasp-torch[ray]'.") from error
        if self.ray.is_initialized():
            return
        asked = os.environ.get("RAY_ADDRESS", HERE) if address == HERE else address
        try:
            _look_for(asked)
            where = {} if address == HERE else {"address": address}
            self.ray.init(**where, log_to_driver=False, logging_level=logging.ERROR)
        except (OSError, RuntimeError, ValueError) as error:
            place = "this machine" if asked == HERE else asked
            said = getattr(error, "strerror", None) or f"{error}".strip() or type(error).__name__
            words = said.splitlines()[0].rstrip(".")
            raise NaspError(
                f"No Ray cluster answers at {place} ({words}): begin one there by"
                " 'ray start --head', set RAY_AUTH_MODE=token here if it asks for a token, or give"
                " another --on."
            ) from error

    def room(self, cpus: int, gpus: float) -> int:
        """Return how many jobs of so much each would fit, if there were no others."""
        return sum(
            min(
                int(node.get("CPU", 0) // cpus),
                int(node.get("GPU", 0) / gpus + 1e-9) if gpus else int(node.get("CPU", 0)),
            )
            for node in self._nodes()
        )

    def check_room(self, cpus: int, gpus: float) -> None:
        """Raise where not one job fits.

        Raises:
            UsageError: no node has so much.
        """
        if self.room(cpus, gpus):
            return
        nodes = self._nodes()
        most = {name: max((n.get(name, 0) for n in nodes), default=0) for name in ("CPU", "GPU")}
        wanted = f"{cpus} CPUs" + (f" and {gpus:g} GPUs" if gpus else "")
        raise UsageError(
            f"No node of the cluster has {wanted} for a job (the most are {most['CPU']:g} and"
            f" {most['GPU']:g}): give another --cpus-per-job or --gpus-per-job."
        )

    def _nodes(self) -> list[dict[str, float]]:
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]


def _look_for(address: str) -> None:
    """Raise an OSError where nothing listens at HOST:PORT: Ray itself would wait for minutes."""
    url = urlsplit(address if "//" in address else f"//{address}")
    if url.hostname is not None and url.port is not None:
        socket.create_connection((url.hostname, url.port), SECONDS).close()
