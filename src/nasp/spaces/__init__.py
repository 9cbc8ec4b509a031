"""The search spaces that nasp knows by name."""

from __future__ import annotations

from nasp.errors import unknown_name
from nasp.spaces.darts import DARTS
from nasp.spaces.nasbench201 import NASBENCH201, NASBENCH201_3
from nasp.spaces.nasp12 import NASP12
from nasp.spaces.recurrent import RECURRENT, LanguageConfig
from nasp.spaces.space import DataKind, NetworkConfig, NotationError, Space, Wire

__all__ = [
    "SPACES",
    "DataKind",
    "LanguageConfig",
    "NetworkConfig",
    "NotationError",
    "Space",
    "Wire",
    "find_space",
    "spaces_of",
]

SPACES: dict[str, Space] = {
    known.name: known for known in (DARTS, NASP12, NASBENCH201, NASBENCH201_3, RECURRENT)
}
"""The search spaces by name; add your own here."""


def spaces_of(data: DataKind) -> list[str]:
    """Return the names of the spaces whose networks read images, or text."""
    return [name for name, space in SPACES.items() if space.data == data]


def find_space(name: str) -> Space:
    """Return the search space of this name.

    Raises:
        UsageError: there is none.
    """
    if name not in SPACES:
        raise unknown_name("search space", name, list(SPACES))
    return SPACES[name]
