"""The kinds of data, by name; a new one is one folder here and one name in `DOMAINS`.

Another distribution registers one by an entry point of the group ``nasp.domains``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nasp.domains.domain import Domain
from nasp.domains.images import IMAGES
from nasp.domains.text import TEXT
from nasp.errors import UsageError, unknown_name
from nasp.runs.registry import Registry
from nasp.spaces import Space, find_space, spaces_of

__all__ = [
    "DOMAINS",
    "Domain",
    "default_domain",
    "domain_of",
    "every_domain",
    "find_domain",
    "fitting_space",
    "refuse_foreign",
]

DOMAINS: dict[str, Domain] = {known.name: known for known in (IMAGES, TEXT)}
"""The kinds of data of the package by name, the usual one first."""


def _flaw(name: str, domain: object) -> str | None:
    """Return in what a plug-in's kind of data falls short."""
    if not isinstance(domain, Domain):
        return "is no nasp.domains.Domain"
    return None if domain.name == name else f"calls itself '{domain.name}'"


_REGISTRY = Registry("kind of data", "nasp.domains", DOMAINS, _flaw)


def every_domain() -> Iterator[Domain]:
    """Yield all kinds of data, the package's own first, then those of plug-ins.

    Raises:
        UsageError: a plug-in is at fault.
    """
    return map(_REGISTRY.find, _REGISTRY.names())


def find_domain(name: str) -> Domain:
    """Return the kind of data of this name, of the package or of a plug-in.

    Raises:
        UsageError: there is none, or the plug-in that has it is at fault.
    """
    return _REGISTRY.find(name)


def domain_of(data: str) -> Domain:
    """Return the kind of these data.

    Args:
        data: their name, such as ``digits`` or ``text:DIR``.

    Raises:
        UsageError: there are none of this name.
    """
    for domain in every_domain():
        if domain.knows(data):
            return domain
    names = [name for domain in every_domain() for name in domain.data_names]
    raise unknown_name("data", data, names)


def default_domain(space: str | None = None) -> Domain:
    """Return the kind of data that a space reads; the usual one where no space is named.

    Raises:
        UsageError: there is no such space.
    """
    return find_domain(find_space(space).data) if space else next(iter(DOMAINS.values()))


def fitting_space(name: str, data: str) -> Space:
    """Return a search space whose networks read such data.

    Raises:
        UsageError: there is none of this name, or its networks read others.
    """
    space, kind = find_space(name), domain_of(data).name
    if space.data != kind:
        raise UsageError(
            f"Space '{space.name}' is for {space.data}, and '{data}' is {kind}: choose one of"
            f" {', '.join(spaces_of(kind))}, or other --data."
        )
    return space


def refuse_foreign(domain: Domain, part: str, given: Mapping[str, Any], what: str) -> None:
    """Raise UsageError where an option was given that another kind of data has a use for alone.

    Args:
        domain: the kind of data at hand.
        part: the settings meant, by their name in `Domain`: ``"data"``, ``"train"``, ...
        given: the options by name; None where one was not given.
        what: what they were given with.
    """
    for name, value in given.items():
        if value is None or name in getattr(domain, part).model_fields:
            continue
        for other in every_domain():
            if name in getattr(other, part).model_fields:
                option = name.replace("_", "-")
                raise UsageError(f"--{option} is for {other.name}: leave it out with '{what}'.")
