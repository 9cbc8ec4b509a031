"""What a user can say about a search."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import Field, model_validator

from nasp.bilevel.selection import SelectConfig, Selecting
from nasp.complexity.config import ComplexityConfig
from nasp.errors import UsageError
from nasp.strategies import find_strategy, strategy_config
from nasp.training.recipe import Recipe

Fallback = Literal["train", "largest", "none"]
"""What decides where a search does not know."""
SEARCHED = 8
"""Epochs of a search to each of its fallback's trainings, which takes about as long as two: so all
of them have the last quarter of its time."""


class SearchConfig(Recipe, ComplexityConfig):
    """Settings of a search; the defaults are those of the NASP authors' CIFAR-10 search.

    The fields of `ComplexityConfig` are its own, too.
    """

    strategy: str = "nasp"
    """The search algorithm."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """Any setting of the strategy; repeatable."""
    select: Selecting = "none"
    """How the result is chosen: none (what the strategy derives), rerank (the best by the
    shared weights of those that the search points at), train (the best of these after
    stand-alone training)."""
    fallback: Fallback = "none"
    """What decides where a search without selection does not know what size is worth: train, short
    trainings of what it found and of larger networks, in the last quarter of its time; largest, the
    largest network that keeps the bounds; none, the search all the same."""
    selection: SelectConfig = Field(default_factory=SelectConfig)
    """Any setting of that choice; repeatable."""
    epoch_steps: int | None = Field(None, ge=1)
    """Steps of an epoch of the search; default a pass over the weights' batches."""
    least_steps: int = Field(0, ge=0)
    """Steps that a search has at least: where its epochs would have fewer, each is longer, for few
    examples need as many steps as many."""
    minutes: float | None = Field(None, gt=0)
    """Minutes that the search is to take, default as many as its epochs need: its own steps are
    measured, and its schedule is laid out over that time; a selection comes on top."""

    @model_validator(mode="after")
    def _one_length(self) -> SearchConfig:
        if self.minutes is not None and self.least_steps:
            raise ValueError("minutes say how long it is: leave least_steps out")
        return self

    def steps_of_epoch(self, batches: int) -> int:
        """Return the steps of an epoch of an iterative search.

        Args:
            batches: of a pass, or what `epoch_steps` says instead.
        """
        return max(batches, math.ceil(self.least_steps / self.epochs))

    def fallback_selection(self) -> SelectConfig:
        """Return the selection's settings for a fallback, by the length of the search.

        Two networks are trained for an epoch each at least.
        """
        given = self.selection
        epochs = max(2, min(given.epochs, self.epochs // SEARCHED))
        first_rung = min(given.first_rung, epochs // 2)
        return given.model_copy(update={"epochs": epochs, "first_rung": first_rung})


def may_train(config: SearchConfig) -> bool:
    """Tell whether a search may train networks alone, for its selection or its fallback."""
    if selecting(config) != "none":
        return config.select == "train"
    registration = find_strategy(config.strategy)
    can_doubt = registration.can_doubt(strategy_config(config.strategy, config.settings))
    return can_doubt and config.fallback == "train"


def selecting(config: SearchConfig) -> Selecting:
    """Return how the result of a search will be chosen.

    Raises:
        UsageError: by the shared weights, of which the strategy trains none.
    """
    registration = find_strategy(config.strategy)
    if config.selection.lr is not None and not isinstance(config.optimizer, str):
        raise UsageError(
            "The selection's lr says nothing to an optimizer of your own: leave it out."
        )
    if config.select == "rerank" and not registration.iterative:
        raise UsageError(
            f"Strategy '{config.strategy}' trains no shared weights to rank architectures by:"
            " select 'train', or 'none'."
        )
    if config.select == "none" and registration.ranks_by_weights:
        return "rerank"
    return config.select
