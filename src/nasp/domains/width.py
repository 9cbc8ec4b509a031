"""How wide a hand-made network is."""

from __future__ import annotations

from collections.abc import Callable


def width_for(parameters: int, count: Callable[[int], int]) -> int:
    """Return the width, 1 or more, at which a network has about so many parameters.

    Args:
        parameters: that it should have.
        count: those of a network, by its width; the wider, the more.
    """
    low, high = 1, 2
    while count(high) < parameters:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if count(middle) < parameters else (low, middle)
    return min(low, high, key=lambda width: abs(count(width) - parameters))
