"""Measured costs, kept in a file: a latency that is measured again is another."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nasp.errors import NaspError
from nasp.runs.files import write_text_atomic


class Store:
    """A JSON file of figures by name, each made once.

    Args:
        path: the file; None keeps nothing.
        share: makes figures once for several processes; default each makes its own.
    """

    def __init__(
        self,
        path: Path | None,
        share: Callable[[Callable[[], Any]], Any] = lambda make: make(),
    ) -> None:
        self.path = path
        self.share = share
        self.figures: dict[str, Any] = {}
        if path is not None and path.is_file():
            try:
                self.figures = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise NaspError(
                    f"{path} cannot be read ({error}): delete it to measure the costs anew."
                ) from error

    def get(self, name: str, make: Callable[[], Any]) -> Any:
        """Return the figures of this name, made now where there are none yet."""
        if name not in self.figures:
            self.put(name, self.share(make))
        return self.figures[name]

    def put(self, name: str, figures: Any) -> None:
        """Keep figures under a name."""
        self.figures[name] = figures
        if self.path is not None:
            write_text_atomic(self.path, json.dumps(self.figures, indent=1) + "\n")
