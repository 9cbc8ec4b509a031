"""What is trained beside a found network: under its budget and, where it has them, its bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from nasp.bilevel.selection.admitted import Admitted
from nasp.complexity.control import Complexity
from nasp.complexity.store import Store
from nasp.complexity.target import Target
from nasp.errors import UsageError
from nasp.jobs.train_job import TrainJob
from nasp.runs.folder import RunFolder
from nasp.spaces import find_space
from nasp.spaces.sampling import random_architecture
from nasp.strategies.random_search import draw
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Supernet


class Draws(NamedTuple):
    """Random architectures of a supernet, in the order of a seed."""

    supernet: Supernet
    seed: int

    def propose(self, count: int) -> list[Architecture]:
        """Return so many distinct ones, or as many as the space seems to have."""
        return draw(self.supernet, count, self.seed)


def rival_of(
    job: TrainJob, name: str, parameters: int, shape: Mapping[str, Any], run: RunFolder
) -> TrainJob:
    """Return the training of a rival.

    Args:
        job: the training that it stands beside.
        name: ``random-K``, or that of a hand-made network.
        parameters: of the network it is beside; a hand-made one has about as many.
        shape: of the data.
        run: of the training; keeps what costs were measured.

    Raises:
        UsageError: there is no such rival.
    """
    kind, _, number = name.partition("-")
    own: dict[str, Any]
    if kind == "random" and number.isdigit():
        own = {"architecture": dict(_random(job, int(number), shape, run).edges)}
    elif name in job.domain.by_hand:
        recipe = job.train.for_hand_made().model_copy(update={"init": None})
        own = {
            "architecture": None,
            "by_hand": name,
            "parameters": parameters,
            "train": recipe,
        }
    else:
        known = ", ".join(["random-N", *job.domain.by_hand])
        raise UsageError(f"Unknown rival '{name}': give one of {known}.")
    return job.model_copy(update={"beside": (), **own})


def _random(job: TrainJob, seed: int, shape: Mapping[str, Any], run: RunFolder) -> Architecture:
    """Draw one uniformly, of those that keep what the found network had to keep."""
    space, bounds = find_space(job.space), job.bounds
    if not (bounds.at_most or bounds.target):
        return random_architecture(space, seed)
    target = job.domain.target(space, job.size(shape), torch.device("cpu"))

    def bounded() -> Target:
        return target

    store = Store(run.costs_path)
    complexity = Complexity(target.supernet, bounds, bounded, bounded, 1, store)
    return complexity.settle(Admitted(Draws(target.supernet, seed), complexity).propose(1)[0])
