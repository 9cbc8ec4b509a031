"""The search spaces, by name; a new one is one file here and one name in `SPACES`.

Another distribution registers one by an entry point of the group ``nasp.spaces``.
"""

from __future__ import annotations

from nasp.runs.registry import Registry, lacking
from nasp.spaces.darts import DARTS
from nasp.spaces.mobile import MOBILE
from nasp.spaces.nasbench201 import NASBENCH201, NASBENCH201_3
from nasp.spaces.nasp12 import NASP12
from nasp.spaces.recurrent import RECURRENT, LanguageConfig
from nasp.spaces.space import (
    NetworkConfig,
    NotationError,
    Space,
    Wire,
    checked_edges,
)
from nasp.spaces.vit import VIT

__all__ = [
    "SPACES",
    "LanguageConfig",
    "NetworkConfig",
    "NotationError",
    "Space",
    "Wire",
    "checked_edges",
    "find_space",
    "space_names",
    "spaces_of",
]

SPACES: dict[str, Space] = {
    known.name: known
    for known in (DARTS, NASP12, NASBENCH201, NASBENCH201_3, MOBILE, VIT, RECURRENT)
}
"""The search spaces of the package by name."""


def _flaw(name: str, space: object) -> str | None:
    """Return in what a plug-in's space falls short."""
    if flaw := lacking(space, Space):
        return flaw
    own = getattr(space, "name", None)
    return None if own == name else f"calls itself '{own}'"


_REGISTRY = Registry("search space", "nasp.spaces", SPACES, _flaw)


def space_names() -> list[str]:
    """Return the names of all spaces, the package's own first, then those of plug-ins."""
    return _REGISTRY.names()


def find_space(name: str) -> Space:
    """Return the search space of this name, of the package or of a plug-in.

    Raises:
        UsageError: there is none, or the plug-in that has it is at fault.
    """
    return _REGISTRY.find(name)


def spaces_of(data: str) -> list[str]:
    """Return the names of all spaces for a kind of data, such as ``images``.

    Raises:
        UsageError: a plug-in is at fault.
    """
    return [name for name in space_names() if find_space(name).data == data]
