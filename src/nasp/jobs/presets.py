"""Settings that go together and have a name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from nasp.errors import UsageError, unknown_name
from nasp.spaces.mobile import MOBILE, PRESETS
from nasp.strategies.nasp import PAPER


class Sized(NamedTuple):
    """Networks of a space of about one cost: the supernet's size, and what they may cost.

    Attributes:
        space: the search space.
        size: channels and cells.
        at_most: the bound, ``macs=60M``.
    """

    space: str
    size: Mapping[str, int]
    at_most: str


SIZED = {
    f"{MOBILE.name}-{macs}": Sized(
        MOBILE.name, {"channels": channels, "cells": 1}, f"macs={macs.upper()}"
    )
    for macs, channels in PRESETS.items()
}
"""Those of a size, by name."""

_OF_STRATEGIES: dict[str, dict[str, Mapping[str, Any]]] = {"paper": {"nasp": PAPER}}


def preset_settings(preset: str, strategy: str) -> dict[str, Any]:
    """Return a strategy's settings by a preset: ``"paper"`` for those of the NASP authors' code.

    Raises:
        UsageError: there is no such preset, or it has nothing for this strategy.
    """
    if preset not in _OF_STRATEGIES:
        raise unknown_name("preset", preset, [*_OF_STRATEGIES, *SIZED])
    if strategy not in _OF_STRATEGIES[preset]:
        raise UsageError(
            f"Preset '{preset}' has no settings for strategy '{strategy}': leave it out, for a"
            " rival's defaults are those of its own authors."
        )
    return dict(_OF_STRATEGIES[preset][strategy])


def of_size(preset: str, space: str | None) -> Sized:
    """Return a preset of a size.

    Args:
        preset: its name, of `SIZED`.
        space: the search space that was asked for, if one was.

    Raises:
        UsageError: it is of another space.
    """
    sized = SIZED[preset]
    if space not in (None, sized.space):
        raise UsageError(
            f"Preset '{preset}' is of space '{sized.space}': leave it out, or --space {space}."
        )
    return sized
