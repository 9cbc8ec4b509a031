"""What decides which architecture a search returns: itself, a selection, or its fallback."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor

from nasp.bilevel.found import LARGEST, SEARCH, SELECTION
from nasp.bilevel.larger import Larger
from nasp.bilevel.selection import Admitted, ByScores, Selecting, Selection, Selector
from nasp.bilevel.settings import SearchConfig
from nasp.complexity.control import Complexity
from nasp.strategies import Proposes, Strategy
from nasp.supernet.architecture import Architecture

ASKED_AFTER = 0.75
"""Share of a search's epochs after which it may be left to its fallback's trainings."""


def is_left_to_trainings(config: SearchConfig, knows: bool | None, epoch: int, epochs: int) -> bool:
    """Tell whether trainings are to have a search's other epochs, since it does not know.

    Args:
        config: of the search, in which nothing is selected.
        knows: whether it knows so far, see `nasp.bilevel.knowledge`.
        epoch: that is done, from 1.
        epochs: in all.
    """
    is_late = epoch >= math.ceil(ASKED_AFTER * epochs)
    return config.fallback == "train" and knows is False and is_late


class Decision(NamedTuple):
    """What a search returns.

    Attributes:
        foremost: what was decided for, before bounds.
        result: the same, or the nearest that keeps the bounds.
        decided_by: what decided: `SEARCH`, `SELECTION` or `LARGEST`.
        selection: where networks were compared.
    """

    foremost: Architecture
    result: Architecture
    decided_by: str
    selection: Selection | None = None


def decide(
    mode: Selecting,
    config: SearchConfig,
    knows: bool | None,
    strategy: Strategy,
    proposed: Proposes,
    complexity: Complexity,
    scores: Mapping[str, Tensor],
    selector: Selector,
    is_trained: bool,
) -> Decision:
    """Return the result of a search.

    Args:
        mode: how the result is chosen.
        config: of the search.
        knows: whether the search knows, see `nasp.bilevel.knowledge`.
        strategy: as the search left it.
        proposed: says what the search points at.
        complexity: has the bounds.
        scores: by which the nearest that keeps the bounds is found.
        selector: compares what is proposed.
        is_trained: whether the supernet's weights can tell architectures apart.
    """
    last = foremost = strategy.derive()
    if isinstance(strategy, Proposes):
        proposed = Admitted(strategy, complexity)
        if not complexity.is_within(last):
            foremost = proposed.propose(1)[0]
    if mode != "none":
        selection = selector.select(mode, proposed, is_trained)
        return Decision(foremost, selection.winner, SELECTION, selection)
    result = searched(foremost, proposed, complexity, scores)
    if knows is not False or config.fallback == "none":
        return Decision(foremost, result, SEARCH)
    larger = Larger(complexity, scores, result)
    if config.fallback == "largest":
        return Decision(foremost, larger.largest(), LARGEST)
    if not larger.is_any:
        return Decision(foremost, result, SEARCH)
    short = replace(selector, config=config.fallback_selection())
    selection = short.select("train", larger, is_trained=False, stands=True)
    return Decision(foremost, selection.winner, SELECTION, selection)


def searched(
    foremost: Architecture,
    proposed: Proposes,
    complexity: Complexity,
    scores: Mapping[str, Tensor],
) -> Architecture:
    """Return what a search itself finds: what gains most together, or else the foremost."""
    if isinstance(proposed, ByScores) and proposed.fit is not None:
        foremost = next(iter(proposed.propose(1)), foremost)
    return complexity.settle(foremost, scores)
