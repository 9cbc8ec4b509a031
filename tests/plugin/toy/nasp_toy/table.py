"""A kind of data: rows of numbers, each of one class. It comes with one set, and one space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from sklearn.datasets import load_wine
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from nasp import Architecture, Choice, Supernet, Supervised
from nasp.complexity.target import Target
from nasp.domains import Domain
from nasp.domains.domain import (
    DataConfig,
    HandMade,
    SearchDefaults,
    SearchLoaders,
    SupernetConfig,
    TrainDefaults,
    TrainLoaders,
)
from nasp.domains.images.drop_path import RatesWithDropPath
from nasp.domains.images.task import ImageClassification
from nasp.errors import validated
from nasp.training.events import Noted, Observer
from nasp.training.learner import Learner
from nasp.training.recipe import Recipe
from nasp.training.task import Task
from nasp.training.train import TrainConfig
from nasp_toy.two_edges import EDGES, TwoEdges


class TableNetwork(BaseModel):
    """The size of a network that reads rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    features: int = Field(13, ge=1)
    classes: int = Field(3, ge=2)
    channels: int = Field(8, ge=1)
    cells: int = Field(1, ge=1)


class TableSpace(TwoEdges):
    """Linear layers of one width, behind each of which stands one of three activations."""

    name = "table"
    data = "table"
    small = TableNetwork()
    candidates: ClassVar[dict[str, type[nn.Module]]] = {
        "relu": nn.ReLU,
        "tanh": nn.Tanh,
        "silu": nn.SiLU,
    }

    def supernet(self, config: TableNetwork) -> nn.Module:
        """Return a network with a `Choice` behind every layer."""

        def edge(name: str) -> nn.Module:
            modules = {candidate: make() for candidate, make in self.candidates.items()}
            return Choice(modules, share=name)

        return layers(config, edge)

    def network(self, architecture: Architecture, config: TableNetwork) -> nn.Module:
        """Return the derived network with fresh weights."""
        chosen = self.chosen(architecture)
        return layers(config, lambda name: self.candidates[chosen[name]]())


def layers(config: TableNetwork, edge: Callable[[str], nn.Module]) -> nn.Module:
    """Return the network, [B,features] to [B,classes]; its activations are made by `edge`."""
    stack: list[nn.Module] = [nn.Linear(config.features, config.channels)]
    for _ in range(config.cells):
        for name in EDGES:
            stack += [edge(name), nn.Linear(config.channels, config.channels)]
    return nn.Sequential(*stack, nn.Linear(config.channels, config.classes))


class TableConfig(DataConfig):
    """Which table, in which batches."""

    batch_size: int = Field(16, ge=1)
    """Rows a step."""


class TableTrainConfig(Recipe, TrainConfig):
    """The recipe of a training: SGD along a cosine."""

    measured_on: ClassVar[str] = "test"

    def objective(
        self, network: nn.Module, task: Any, auxiliary: tuple[str, nn.Module] | None
    ) -> tuple[nn.Module, Task]:
        """Return both as they are."""
        return network, task

    def course(self, learner: Learner, network: nn.Module) -> RatesWithDropPath:
        """Return the learning rate's cosine."""
        return RatesWithDropPath(learner, network, self.rates(learner), 0.0, self.epochs)


@dataclass(frozen=True)
class Table:
    """A table that was read: its first fifth is for the test."""

    config: TableConfig
    rows: TensorDataset

    @property
    def shape(self) -> Mapping[str, Any]:
        """Numbers in a row, and classes."""
        x, y = self.rows.tensors
        return {"features": x.shape[1], "classes": int(y.max()) + 1}

    def task(self, config: Any = None) -> ImageClassification:
        """Return classification; it asks of no batch whether it holds images."""
        return ImageClassification(self.shape["classes"])

    def search_loaders(self, network: Any, device: torch.device, seed: int) -> SearchLoaders:
        """Return loaders of the halves of what is not for the test."""
        _, train = self._parts()
        weights, alphas = train[::2], train[1::2]
        return SearchLoaders(
            self._loader(weights, 2 * seed),
            self._loader(alphas, 2 * seed + 1),
            self._loader(alphas, None),
        )

    def train_loaders(self, network: Any, device: torch.device, seed: int) -> TrainLoaders:
        """Return loaders of all that is not for the test, and of the test."""
        test, train = self._parts()
        return TrainLoaders(self._loader(train, seed), self._loader(test, None))

    def keep(self, run: Path) -> None:
        """Write nothing."""

    def _parts(self) -> tuple[list[int], list[int]]:
        generator = torch.Generator().manual_seed(0)
        order = torch.randperm(len(self.rows), generator=generator).tolist()
        fifth = len(order) // 5
        return order[:fifth], order[fifth:]

    def _loader(self, rows: Sequence[int], seed: int | None) -> DataLoader[Any]:
        return DataLoader(
            Subset(self.rows, rows),
            self.config.batch_size,
            shuffle=seed is not None,
            drop_last=seed is not None,
            generator=None if seed is None else torch.Generator().manual_seed(seed),
        )


def read(config: TableConfig, observe: Observer) -> Table:
    """Read scikit-learn's table of 178 wines from three vineyards."""
    x, y = (torch.from_numpy(part) for part in load_wine(return_X_y=True))
    x = ((x - x.mean(dim=0)) / x.std(dim=0)).float()
    observe(Noted(f"{config.name}: {len(y)} rows"))
    return Table(config, TensorDataset(x, y.long()))


def hand_made(size: TableNetwork, parameters: int) -> nn.Module:
    """Return a network of tanh alone."""
    return layers(size, lambda _: nn.Tanh())


def stand_in(
    network: nn.Module, size: TableNetwork, count: int, tokens: int, seed: int
) -> tuple[Supervised, tuple[Tensor, Tensor]]:
    """Return a task, and so many random rows and classes."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, size.features, generator=generator)
    return Supervised(), (rows, torch.randint(size.classes, (count,), generator=generator))


def example(network: nn.Module, size: TableNetwork, tokens: int) -> tuple[Tensor]:
    """Return two random rows."""
    return (stand_in(network, size, 2, tokens, 0)[1][0],)


def target(space: Any, size: TableNetwork, device: torch.device | str) -> Target:
    """Return the networks of a size, as what costs are about."""
    supernet = Supernet(space.supernet(size).to(device), space.name)
    row = torch.zeros(1, size.features, device=device)
    return Target(
        f"{size.channels} channels",
        supernet,
        lambda: supernet(row),
        lambda architecture: space.network(architecture, size).to(device),
        "row",
    )


SPACE = TableSpace()
TABLE = Domain(
    name="table",
    data_names=("wine",),
    embedded="wine",
    data=TableConfig,
    supernet=SupernetConfig,
    train=TableTrainConfig,
    network=TableNetwork,
    shape=("features", "classes"),
    by_hand={"tanh": HandMade("tanh alone", hand_made)},
    default_space=lambda data: SPACE.name,
    search_defaults=lambda data, space: SearchDefaults(
        {"channels": 8, "cells": 1}, {"batch_size": 16}, {"epochs": 4}
    ),
    train_defaults=lambda data, space: TrainDefaults(
        {"channels": 8, "cells": 1}, {"batch_size": 16}, {"epochs": 10}
    ),
    read=read,
    known_shape=lambda config, run: {"features": 13, "classes": 3},
    sized=lambda fields: validated(TableNetwork, fields, "the network"),
    example=example,
    stand_in=stand_in,
    target=target,
    described=lambda size: f"rows of {size['features']} numbers",
)
