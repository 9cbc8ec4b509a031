"""What a measured network works on: random data, its task, and the optimiser of its weights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from nasp.bench.steps.settings import BenchSettings
from nasp.domains.text.task import LanguageModelling
from nasp.spaces import LanguageConfig, NetworkConfig, Space
from nasp.spaces.language_model import LanguageModel
from nasp.training.supervised import Supervised
from nasp.training.task import Batch, Task

CLASSES = 10


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


def network_size(
    space: Space, settings: BenchSettings, partial_channels: int = 1
) -> NetworkConfig | LanguageConfig:
    """Return the size of a space's network.

    Args:
        space: which.
        settings: what is measured.
        partial_channels: K, where candidates see 1/K of the channels; read for images.
    """
    if space.data == "text":
        return LanguageConfig(
            vocabulary=settings.vocabulary, channels=settings.channels, cells=settings.cells
        )
    return NetworkConfig(
        channels=settings.channels,
        cells=settings.cells,
        image_size=settings.image_size,
        classes=CLASSES,
        partial_channels=partial_channels,
    )


def workload(settings: BenchSettings, network: nn.Module) -> Workload:
    """Return what a network of the settings' space works on."""
    if isinstance(network, LanguageModel):
        size = network.state_size
        return Workload(
            LanguageModelling(settings.bptt),
            (_text(settings, 0, size), _text(settings, 1, size)),
            partial(torch.optim.SGD, lr=20.0, weight_decay=5e-7),
            0.25,
        )
    return Workload(
        Supervised(),
        (_images(settings, 0), _images(settings, 1)),
        partial(torch.optim.SGD, lr=0.025, momentum=0.9, weight_decay=3e-4),
        5.0,
    )


def _images(settings: BenchSettings, part: int) -> Batch:
    generator = torch.Generator().manual_seed(2 * settings.seed + part)
    size = settings.image_size
    images = torch.randn(settings.batch, 3, size, size, generator=generator)
    return images, torch.randint(CLASSES, (settings.batch,), generator=generator)


def _text(settings: BenchSettings, part: int, state_size: int) -> Batch:
    generator = torch.Generator().manual_seed(2 * settings.seed + part)
    shape = settings.batch, settings.bptt + 1
    tokens = torch.randint(settings.vocabulary, shape, generator=generator)
    return tokens[:, :-1], tokens[:, 1:], torch.zeros(settings.batch, 2, state_size)
