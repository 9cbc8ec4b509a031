"""A search as long as the time that it is given: its own step is measured, and laid out over it."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from nasp.bilevel.settings import SearchConfig
from nasp.errors import UsageError
from nasp.runs.folder import RunFolder
from nasp.runs.random_state import random_states, restore_random_states
from nasp.strategies import Horizon, Problem, find_strategy, make_strategy, strategy_config
from nasp.supernet.copies import copied
from nasp.supernet.supernet import Supernet
from nasp.training.passes import EndlessPasses
from nasp.training.task import Task, detached

UNTIMED, TIMED = 4, 8
"""Steps of a copy: caches and kernels are made in the first ones."""
RESERVE = 0.05
"""Share of the time for checkpoints and for what is measured at an epoch's end."""


def within_minutes(
    config: SearchConfig,
    supernet: Supernet,
    task: Task,
    weight_batches: EndlessPasses,
    arch_batches: EndlessPasses,
    steps: int,
    run: RunFolder | None,
) -> SearchConfig:
    """Return the settings with as many epochs as fit into ``config.minutes``.

    An epoch keeps its steps, unless not even one fits. A run keeps what was found, for one that
    goes on has the schedule that it was begun with. A selection comes on top.

    Args:
        config: as the user gave it; without minutes it is returned.
        supernet: as it is before the first step; left as it is, with the random states.
        task: the task.
        weight_batches: for the weights; put back to where they were.
        arch_batches: for the alphas; put back.
        steps: of an epoch.
        run: the run.

    Raises:
        UsageError: the strategy's whole search is one step.
    """
    if config.minutes is None:
        return config
    registration = find_strategy(config.strategy)
    if not registration.iterative:
        raise UsageError(
            f"The search by strategy '{config.strategy}' is a single step, to which minutes say"
            " nothing: leave them out."
        )
    settings = strategy_config(config.strategy, config.settings)

    def every(total: int) -> int:
        horizon = Horizon(max(1, total // steps), min(steps, total))
        return registration.weight_steps(settings, horizon)

    known = {} if run is None else run.config().get("within_minutes", {})
    if not known:
        own = _seconds(config, supernet, task, weight_batches, arch_batches)
        arch_step, weight_step = config.ranks.share(lambda: own)
        total = _fitting(60 * config.minutes * (1 - RESERVE), arch_step, weight_step, every)
        known = {"epochs": max(1, total // steps), "epoch_steps": min(steps, total)}
        if run is not None:
            run.write_config({**run.config(), "within_minutes": known})
    return config.model_copy(update=known)


def _fitting(
    seconds: float, arch_step: float, weight_step: float, every: Callable[[int], int]
) -> int:
    """Return how many weight steps fit into so many seconds, with the others; at least 1.

    Args:
        seconds: in all.
        arch_step: seconds of one.
        weight_step: seconds of one.
        every: from weight steps in all to those to an architecture step: the more, the more.
    """
    total = max(1, int(seconds / weight_step))
    while (fewer := max(1, int(seconds / (weight_step + arch_step / every(total))))) < total:
        total = fewer
    return total


def _seconds(
    config: SearchConfig,
    supernet: Supernet,
    task: Task,
    weight_batches: EndlessPasses,
    arch_batches: EndlessPasses,
) -> tuple[float, float]:
    """Return how long an architecture step and a weight step take."""
    states = random_states()
    passes = weight_batches, arch_batches
    places = [each.state_dict() for each in passes]
    fields = find_strategy(config.strategy).config.model_fields
    settings = {**config.settings, **({"warmup_epochs": 0} if "warmup_epochs" in fields else {})}
    copy, copied_task = copied(supernet), copied(detached(task))
    learner = config.learner(copy, copied_task, copy.weights())
    horizon = Horizon(1, UNTIMED + TIMED)
    problem = Problem(copy, learner, horizon, config.seed, lambda _: torch.zeros(()))
    strategy = make_strategy(config.strategy, problem, settings)

    def weight_step() -> None:
        strategy.weight_step(next(weight_batches))

    def iteration() -> None:
        strategy.arch_step(next(arch_batches))
        weight_step()

    for _ in range(UNTIMED):
        iteration()
    both, of_weights = _seconds_of(iteration), _seconds_of(weight_step)
    for each, place in zip(passes, places, strict=True):
        each.load_state_dict(place)
    restore_random_states(states)
    return max(0.0, both - of_weights), of_weights


def _seconds_of(step: Callable[[], None]) -> float:
    begun = time.perf_counter()
    for _ in range(TIMED):
        step()
    return (time.perf_counter() - begun) / TIMED
