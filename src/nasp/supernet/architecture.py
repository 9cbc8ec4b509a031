"""The discrete result of a search: which candidate operation stands on which edge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from nasp.errors import NaspError
from nasp.runs.files import write_text_atomic

FORMAT = "nasp-architecture/1"


@dataclass(frozen=True, eq=False)
class Architecture:
    """Edge -> candidate operation; immutable, hashable, comparable.

    Attributes:
        edges: for each edge its candidate's name, or None for an edge that its node group
            switched off. Edges of cells of one kind share an entry (``"normal/3"``); a choice
            of its own is named by its place in the module (``"body.2"``).
        space: the search space's name, or None for a user's own module.
    """

    edges: Mapping[str, str | None]
    space: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "edges", MappingProxyType(dict(self.edges)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Architecture):
            return NotImplemented
        return self.space == other.space and dict(self.edges) == dict(other.edges)

    def __hash__(self) -> int:
        return hash((self.space, frozenset(self.edges.items())))

    def __getitem__(self, edge: str) -> str | None:
        return self.edges[edge]

    def __reduce__(self) -> tuple[type[Architecture], tuple[dict[str, str | None], str | None]]:
        return Architecture, (dict(self.edges), self.space)

    def changes(self, other: Architecture) -> int:
        """Return on how many edges the two differ."""
        names = self.edges.keys() | other.edges.keys()
        return sum(self.edges.get(name) != other.edges.get(name) for name in names)

    def to_json(self, decided_by: str | None = None) -> str:
        """Return the architecture as a JSON text that `from_json` reads.

        Args:
            decided_by: what made it the result of a search, which is written, too.
        """
        content: dict[str, Any] = {"format": FORMAT, "space": self.space, "edges": {**self.edges}}
        if decided_by is not None:
            content["decided_by"] = decided_by
        return json.dumps(content, indent=2) + "\n"

    @staticmethod
    def from_json(text: str, source: str = "the text") -> Architecture:
        """Read what `to_json` wrote.

        Args:
            text: the JSON.
            source: how error messages call where it came from.

        Raises:
            NaspError: it is no JSON, or no architecture.
        """
        try:
            content: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise NaspError(f"{source} is not valid JSON ({error}).") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise NaspError(f"{source} is not an architecture: its format must be '{FORMAT}'.")
        edges, space = content.get("edges"), content.get("space")
        if (
            not isinstance(edges, dict)
            or not all(isinstance(candidate, str | None) for candidate in edges.values())
            or not isinstance(space, str | None)
        ):
            raise NaspError(f"{source}: 'edges' must map edge names to candidate names or null.")
        return Architecture(edges, space)

    def save(self, path: str | Path, decided_by: str | None = None) -> None:
        """Write the architecture as JSON, atomically; see `to_json`."""
        write_text_atomic(Path(path), self.to_json(decided_by))

    @staticmethod
    def load(path: str | Path) -> Architecture:
        """Read an architecture from a JSON file.

        Raises:
            NaspError: the file is missing, unreadable, or not an architecture.
        """
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
            raise NaspError(f"Cannot read the architecture file {path}: {reason}.") from error
        return Architecture.from_json(text, str(path))
