"""What a measured network works on: random data, its task, and the optimiser of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from nasp.bench.steps.settings import BenchSettings
from nasp.bilevel.settings import SearchConfig
from nasp.domains import find_domain
from nasp.spaces import Space, find_space
from nasp.training.task import Batch, Task


@dataclass(frozen=True)
class Workload:
    """What steps are taken on, and how.

    Attributes:
        task: turns a batch into a loss.
        batches: one for the alphas, one for the weights.
        optimizer: makes the weights' optimiser, that of a search with its defaults.
        clip: largest norm of the weights' gradient.
    """

    task: Task
    batches: tuple[Batch, Batch]
    optimizer: Any
    clip: float


def network_size(space: Space, settings: BenchSettings, partial_channels: int = 1) -> Any:
    """Return the size of a space's network.

    Args:
        space: which.
        settings: what is measured.
        partial_channels: K, where candidates see 1/K of the channels; read for images.
    """
    size = find_domain(space.data).network
    said = {**settings.model_dump(), "partial_channels": partial_channels}
    return size(**{name: said[name] for name in size.model_fields if name in said})


def workload(settings: BenchSettings, network: nn.Module) -> Workload:
    """Return what a network of the settings' space works on."""
    space = find_space(settings.space)
    domain, size = find_domain(space.data), network_size(space, settings)
    tasks, batches = zip(
        *(
            domain.stand_in(network, size, settings.batch, settings.bptt, 2 * settings.seed + part)
            for part in (0, 1)
        ),
        strict=True,
    )
    recipe = SearchConfig(**domain.search_defaults("", space.name).search)
    sgd = partial(
        torch.optim.SGD,
        lr=recipe.lr,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
    )
    assert recipe.clip is not None
    return Workload(tasks[0], batches, sgd, recipe.clip)
