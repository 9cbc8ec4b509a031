"""What a run's settings name, found again: things of the package, and of plug-ins."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from nasp.errors import UsageError, unknown_name

Thing = TypeVar("Thing")


class Registry(Generic[Thing]):
    """Things by name: the package's own, and those that other distributions register.

    A distribution registers a thing by an entry point of its name. It is imported when the thing
    is asked for, and no sooner.

    Args:
        kind: what people call such a thing.
        group: of the entry points.
        own: the package's, by name.
        flaw: says in what a thing that is registered under a name falls short; None: in nothing.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        own: Mapping[str, Thing],
        flaw: Callable[[str, object], str | None],
    ) -> None:
        self.kind = kind
        self.group = group
        self.own = own
        self.flaw = flaw

    def names(self) -> list[str]:
        """Return all names, the package's own first; this imports no plug-in."""
        plugged = sorted({point.name for point in self._points()})
        return [*self.own, *(name for name in plugged if name not in self.own)]

    def find(self, name: str) -> Thing:
        """Return the thing of this name.

        Raises:
            UsageError: there is none, or more than one; or the plug-in that has it cannot be
                imported or falls short.
        """
        points = [point for point in self._points() if point.name == name]
        owners = [*(["nasp itself"] if name in self.own else []), *map(_distribution, points)]
        if len(owners) > 1:
            raise UsageError(
                f"The name of {self.kind} '{name}' is taken twice, by {' and by '.join(owners)}:"
                " uninstall one of them, or give its own another name."
            )
        if name in self.own:
            return self.own[name]
        if not points:
            raise unknown_name(self.kind, name, self.names())
        return self._plugged(points[0])

    def _points(self) -> tuple[EntryPoint, ...]:
        return _entry_points(self.group, tuple((path, _changed(path)) for path in sys.path))

    def _plugged(self, point: EntryPoint) -> Thing:
        try:
            thing: Thing = point.load()
        except Exception as error:
            reason = str(error).strip().partition("\n")[0]
            raise self._refused(
                point, f"cannot be imported ({type(error).__name__}: {reason})"
            ) from error
        if flaw := self.flaw(point.name, thing):
            raise self._refused(point, flaw)
        return thing

    def _refused(self, point: EntryPoint, flaw: str) -> UsageError:
        what = f"{self.kind[0].upper()}{self.kind[1:]} '{point.name}' of {_distribution(point)}"
        return UsageError(f"{what} {flaw}: mend that distribution, or uninstall it.")


def lacking(thing: object, protocol: type) -> str | None:
    """Return which members of a protocol a thing, or a class of such things, lacks."""
    members = (name for name in vars(protocol) if not name.startswith("_"))
    lacks = [name for name in members if not hasattr(thing, name)]
    return f"lacks {', '.join(lacks)} of the protocol {protocol.__name__}" if lacks else None


@lru_cache(maxsize=16)
def _entry_points(group: str, _: tuple[tuple[str, float], ...]) -> tuple[EntryPoint, ...]:
    """Return those of a group; kept for a search path, since to read all takes 20 ms."""
    return tuple(entry_points(group=group))


def _changed(path: str) -> float:
    """Return when a folder last got or lost an entry, as it does where pip installs into it."""
    try:
        return os.stat(path or ".").st_mtime
    except OSError:
        return 0.0


def _distribution(point: EntryPoint) -> str:
    if point.dist is None:
        return f"the distribution of {point.value}"
    return f"the distribution {point.dist.name} {point.dist.version}"
