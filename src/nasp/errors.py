"""The errors a user can meet, each one sentence: what was wrong, where, what to do."""

from __future__ import annotations


class NaspError(Exception):
    """Something failed; the message is written for the user (exit code 1)."""


class UsageError(NaspError):
    """The user asked for something that cannot be (exit code 2)."""


def unknown_name(kind: str, name: str, known: list[str] | tuple[str, ...]) -> UsageError:
    """Return the error for a name that is not one of `known`."""
    return UsageError(f"Unknown {kind} '{name}': choose one of {', '.join(sorted(known))}.")
