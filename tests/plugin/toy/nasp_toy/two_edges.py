"""What the toy's two spaces share: architectures of two edges, and how they are written."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from nasp import Architecture, UsageError
from nasp.spaces import NotationError, Wire, checked_edges

EDGES = ("cell/0", "cell/1")


class TwoEdges:
    """A space whose cells have two edges in a row; `supernet` and `network` are a subclass's.

    Attributes:
        name: the name on the command line.
        candidates: the names of the candidate operations of both edges.
    """

    name: str
    candidates: Collection[str]

    def auxiliary_head(self, config: Any) -> None:
        """Return None: there is none."""

    def notation(self, architecture: Architecture) -> str:
        """Return ``NAME(operation, operation)``."""
        return f"{self.name}({', '.join(self.chosen(architecture).values())})"

    def parse(self, text: str) -> Architecture:
        """Read that notation."""
        match = re.fullmatch(rf"{self.name}\((\w+), *(\w+)\)", text.strip())
        if match is None:
            raise NotationError(
                f"The text is no {self.name} cell: write {self.name}(operation, operation)."
            )
        architecture = Architecture(dict(zip(EDGES, match.groups(), strict=True)), self.name)
        self.chosen(architecture)
        return architecture

    def wiring(self, architecture: Architecture) -> list[Wire]:
        """Return both edges."""
        first, second = self.chosen(architecture).values()
        return [
            Wire("cell", "input", "middle", first),
            Wire("cell", "middle", "output", second),
        ]

    def chosen(self, architecture: Architecture) -> dict[str, str]:
        """Return what an architecture has on each edge; neither may be off."""
        table = dict.fromkeys(EDGES, self.candidates)
        chosen = {}
        for edge, name in checked_edges(architecture, self.name, table).items():
            if name is None:
                raise UsageError(f"The architecture lacks the edge '{edge}'.")
            chosen[edge] = name
        return chosen
