"""The errors a user can meet, each one sentence: what was wrong, where, what to do."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


class NaspError(Exception):
    """Something failed; the message is written for the user (exit code 1)."""


class UsageError(NaspError):
    """The user asked for something that cannot be (exit code 2)."""


class CaptureWarning(RuntimeWarning):
    """Steps on a GPU take longer than they need: they could not be captured as CUDA graphs."""


def unknown_name(kind: str, name: str, known: list[str] | tuple[str, ...]) -> UsageError:
    """Return the error for a name that is not one of `known`."""
    close = get_close_matches(name, known, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return UsageError(f"Unknown {kind} '{name}': choose one of {', '.join(sorted(known))}.{hint}")


def validated(model: type[Model], settings: Mapping[str, Any], what: str) -> Model:
    """Return the settings as a `model`.

    Raises:
        UsageError: an unknown setting, or a value out of range; one sentence about the first.
    """
    try:
        return model(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        reason = str(first["ctx"]["error"]) if "error" in first.get("ctx", {}) else first["msg"]
        if first["type"] == "extra_forbidden":
            reason = "there is no such setting"
        sentence = reason if reason.endswith((".", "?")) else f"{reason}."
        if not where:  # about several settings together
            raise UsageError(f"The settings of {what} do not fit: {sentence}") from error
        raise UsageError(f"Setting '{where}' of {what}: {sentence}") from error
