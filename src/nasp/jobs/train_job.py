"""A training that fits in a JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import SerializeAsAny
from torch import nn

from nasp.complexity.config import ComplexityConfig
from nasp.jobs.job import Job, Size
from nasp.spaces import find_space
from nasp.supernet.architecture import Architecture
from nasp.training.train import TrainConfig


class TrainJob(Size, Job):
    """The training of an architecture, and of others beside it under the same budget.

    Attributes:
        architecture: edge -> candidate; None trains a hand-made network.
        by_hand: the hand-made network's name; None: the data's usual one.
        parameters: of it, about; both are read where `architecture` is None.
        train: settings of the training.
        beside: names of what is trained beside: ``random-1`` (a random architecture of the
            space, its number is its seed), and the domain's hand-made network by its name.
        bounds: what the search had to keep at this size: random architectures keep it, too.
    """

    kind: ClassVar[str] = "train"
    own: ClassVar[tuple[str, ...]] = ("data", "train")

    architecture: dict[str, str | None] | None
    by_hand: str | None = None
    parameters: int | None = None
    train: SerializeAsAny[TrainConfig]
    beside: tuple[str, ...] = ()
    bounds: ComplexityConfig = ComplexityConfig()

    def size(self, shape: Mapping[str, Any]) -> Any:
        """Return the size of its network for data of a shape; see `Domain.sized`."""
        own = {"channels": self.channels, "cells": self.cells, **self.train.network_fields}
        return self.domain.sized({**shape, **own})

    def network(self, size: Any) -> nn.Module:
        """Return what it trains, with fresh weights."""
        if self.architecture is None:
            rivals = self.domain.by_hand
            return rivals[self.by_hand or next(iter(rivals))].network(size, self.parameters or 1)
        space = find_space(self.space)
        return space.network(Architecture(self.architecture, space.name), size)
