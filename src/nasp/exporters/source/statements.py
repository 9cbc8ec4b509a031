"""What the body of a forward method is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nasp.exporters.source.layout import Code


@dataclass(frozen=True)
class Assign:
    """``target = code``."""

    target: str
    code: Code


@dataclass(frozen=True)
class Each:
    """``for item in items: target = code``."""

    item: str
    items: str
    target: str
    code: Code


@dataclass(frozen=True)
class Return:
    """``return code``."""

    code: Code


Statement = Assign | Each | Return


@dataclass(frozen=True)
class Forward:
    """A forward method.

    Attributes:
        parameters: name -> default, or None for a parameter without one.
        statements: its body.
        read: the parameters that it reads.
    """

    parameters: Mapping[str, Code | None]
    statements: tuple[Statement, ...]
    read: frozenset[str]

    def __str__(self) -> str:
        return repr((dict(self.parameters), [(type(s), str(s)) for s in self.statements]))
