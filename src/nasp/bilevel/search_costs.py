"""What the networks of one search cost, and how the search minds it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from nasp.complexity.bound import Reached
from nasp.complexity.config import ComplexityConfig
from nasp.complexity.control import RESULT, Complexity
from nasp.complexity.costs import Cost
from nasp.complexity.store import Store
from nasp.complexity.target import Target
from nasp.runs.folder import RunFolder
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet
from nasp.training.batches import moved, one_example
from nasp.training.learner import Learner
from nasp.training.passes import EndlessPasses, SamePass
from nasp.training.task import Batch

Bounded = Callable[[torch.device], Target]
"""Makes the network that bounds are about, on a device."""


def make_complexity(
    supernet: Supernet,
    config: ComplexityConfig,
    learner: Learner,
    val_loader: Iterable[Batch] | EndlessPasses,
    steps_per_epoch: int,
    run: RunFolder | None,
    bounded: Bounded | None = None,
    own: Cost | None = None,
) -> Complexity:
    """Return the complexity of a search.

    Args:
        supernet: the one that is searched.
        config: settings.
        learner: has the task and the device.
        val_loader: its first example is what costs are measured with.
        steps_per_epoch: of the search.
        run: keeps what was measured; None keeps nothing.
        bounded: makes the network that bounds are about; default the searched one.
        own: the user's own cost.

    Raises:
        UsageError: no architecture keeps the bounds.
    """

    def searched() -> Target:
        return searched_target(supernet, learner, val_loader)

    def about() -> Target:
        return searched() if bounded is None else bounded(learner.fabric.device)

    store = Store(None if run is None else run.costs_path, learner.ranks.share)
    return Complexity(supernet, config, searched, about, steps_per_epoch, store, own)


def bounds_of(run: RunFolder) -> list[Reached]:
    """Return what the result of a finished run costs, for each bound that it had."""
    return [Reached.from_dict(each) for each in Store(run.costs_path).figures.get(RESULT, [])]


def searched_target(
    supernet: Supernet, learner: Learner, val_loader: Iterable[Batch] | EndlessPasses
) -> Target:
    """Return the searched network as what costs are about: its result is what `derive` makes."""

    def run() -> None:
        for batch in SamePass(val_loader, seed=0, count=1):
            example = moved(one_example(batch), learner.fabric.device)
            with torch.enable_grad():  # a loss may need it
                learner.task.loss(learner.network, example)

    return Target(
        "the searched network itself",
        supernet,
        run,
        lambda architecture: derive(supernet, architecture),
    )
