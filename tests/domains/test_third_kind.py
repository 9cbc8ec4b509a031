"""A third kind of data is one record: tables of numbers, searched, trained, shown and exported."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from pydantic import BaseModel
from torch import Tensor, nn

import nasp
from nasp.cli import main
from nasp.complexity import parameter_count
from nasp.complexity.target import Target
from nasp.domains import DOMAINS, Domain, domain_of
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
from nasp.jobs.job import begin
from nasp.jobs.options import search_job, train_job
from nasp.jobs.rebuild import rebuild
from nasp.jobs.search import run_search_job
from nasp.jobs.search_job import SearchJob
from nasp.jobs.targets import job_of
from nasp.jobs.train import run_train_job
from nasp.spaces import SPACES, Wire
from nasp.supernet.architecture import Architecture
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet
from nasp.training.events import Observer
from nasp.training.learner import Learner
from nasp.training.recipe import Recipe
from nasp.training.task import Task
from nasp.training.train import TrainConfig


class TableConfig(DataConfig):
    columns: int = 3
    """Columns of the table."""


class TableSize(BaseModel):
    columns: int = 3
    channels: int = 8
    cells: int = 1
    noise: float = 0.0


class TableSupernet(SupernetConfig):
    noise: float = 0.1
    """Noise in the supernet."""


class TableTrainConfig(Recipe, TrainConfig):
    measured_on: ClassVar[str] = "test"

    def objective(self, network: nn.Module, task: Any, auxiliary: object) -> tuple[nn.Module, Task]:
        assert auxiliary is None
        return network, task

    def course(self, learner: Learner, network: nn.Module) -> RatesWithDropPath:
        return RatesWithDropPath(learner, network, self.rates(learner), 0.0, self.epochs)


class Hidden(nn.Sequential):
    """One hidden layer after another, what follows each of them is one choice."""

    def __init__(self, size: TableSize, follow: Any) -> None:
        layers: list[nn.Module] = [nn.Linear(size.columns, size.channels)]
        for _ in range(size.cells):
            layers += [follow(), nn.Linear(size.channels, size.channels)]
        super().__init__(*layers, nn.Linear(size.channels, 2))


class Tables:
    """The space of such networks."""

    name, data, small = "tables", "tabular", TableSize(channels=2)

    def supernet(self, config: TableSize) -> nn.Module:
        return Hidden(
            config, lambda: nasp.Choice({"relu": nn.ReLU(), "tanh": nn.Tanh()}, share="follow")
        )

    def network(self, architecture: Architecture, config: TableSize) -> nn.Module:
        return derive(Supernet(self.supernet(config), self.name), architecture)

    def auxiliary_head(self, config: TableSize) -> None:
        del config

    def notation(self, architecture: Architecture) -> str:
        return f"tables({','.join(str(name) for name in architecture.edges.values())})"

    def parse(self, text: str) -> Architecture:
        name = text.removeprefix("tables(").removesuffix(")")
        return Architecture({"follow": name}, self.name)

    def wiring(self, architecture: Architecture) -> list[Wire]:
        return [Wire("layer", e, "next", str(c)) for e, c in architecture.edges.items()]


class TableData:
    """Two classes: whether the columns' sum is positive."""

    kept: ClassVar[list[Path]] = []

    def __init__(self, config: TableConfig) -> None:
        self.config = config

    @property
    def shape(self) -> Mapping[str, Any]:
        return {"columns": self.config.columns}

    def task(self, config: TableTrainConfig | None = None) -> ImageClassification:
        del config
        return ImageClassification(2)

    def search_loaders(self, network: object, device: object, seed: int) -> SearchLoaders:
        return SearchLoaders(*(self._batches(4 * seed + part) for part in range(3)))

    def train_loaders(self, network: object, device: object, seed: int) -> TrainLoaders:
        train, valid, test = (self._batches(4 * seed + part) for part in range(3))
        return TrainLoaders(train, valid, test, {"rows": len(train) * self.config.batch_size})

    def keep(self, run: Path) -> None:
        self.kept.append(run)

    def _batches(self, seed: int) -> list[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(20, self.config.batch_size, self.config.columns, generator=generator)
        return [(batch, (batch.sum(1) > 0).long()) for batch in x]


def read(config: TableConfig, observe: Observer) -> TableData:
    del observe
    return TableData(config)


def target(space: Tables, size: TableSize, device: Any) -> Target:
    supernet = Supernet(space.supernet(size), space.name)
    one = torch.zeros(1, size.columns)
    return Target("a table", supernet, lambda: supernet(one), lambda a: space.network(a, size))


def by_hand(size: TableSize, parameters: int) -> nn.Module:
    width = max(1, round((parameters - 2) / (size.columns + 3)))
    return nn.Sequential(nn.Linear(size.columns, width), nn.ReLU(), nn.Linear(width, 2))


TABULAR = Domain(
    name="tabular",
    data_names=("sums", "table:DIR"),
    embedded="sums",
    data=TableConfig,
    supernet=TableSupernet,
    train=TableTrainConfig,
    network=TableSize,
    shape=("columns",),
    by_hand={"perceptron": HandMade("a perceptron", by_hand)},
    default_space=lambda data: "tables",
    search_defaults=lambda data, space: SearchDefaults(
        {"channels": 4, "cells": 2}, {"batch_size": 16}, {"epochs": 2, "lr": 0.3}
    ),
    train_defaults=lambda data, space: TrainDefaults(
        {"channels": 8, "cells": 2}, {"batch_size": 16}, {"epochs": 3, "lr": 0.3}
    ),
    read=read,
    known_shape=lambda config, run: {},
    sized=lambda fields: TableSize(**fields),
    example=lambda network, size, tokens: (torch.randn(2, size.columns),),
    stand_in=lambda network, size, count, tokens, seed: (ImageClassification(2), None),
    target=target,
    described=lambda size: f"a table of {size['columns']} columns",
)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(DOMAINS, "tabular", TABULAR)
    monkeypatch.setitem(SPACES, "tables", Tables())
    monkeypatch.setattr(TableData, "kept", [])
    return iter([None])


def test_from_options_to_a_trained_network(tmp_path: Path) -> None:
    assert domain_of("sums") is domain_of("table:here") is TABULAR
    job = search_job({"name": "sums", "columns": 4}, None, {"noise": 0.5}, {"seed": 3}, {})
    assert (job.space, job.channels, job.cells, job.search.lr) == ("tables", 4, 2, 0.3)
    assert isinstance(job.data, TableConfig)
    assert isinstance(job.supernet, TableSupernet)
    assert (job.data.columns, job.data.batch_size, job.supernet.noise) == (4, 16, 0.5)
    assert SearchJob.model_validate_json(job.model_dump_json()) == job

    run = begin(tmp_path / "run", job)
    assert job_of(run) == job
    found = run_search_job(job, run)
    assert set(found.architecture.edges.values()) <= {"relu", "tanh"}
    assert found.metrics[-1]["train_accuracy"] > 0.7

    # The kind of data does not hand its columns on.
    training = train_job(run, {"columns": 4}, {}, {"epochs": 2}, ["random:1", "perceptron"])
    assert (training.train.epochs, training.train.seed, training.channels) == (2, 3, 8)
    folder = begin(run.path / "train", training)
    results = run_train_job(training, folder)
    assert [result.name for result in results] == ["found", "random-1", "perceptron"]
    assert abs(results[2].parameters / results[0].parameters - 1) < 0.1
    for result in results:
        assert result.test is not None
        assert result.test["accuracy"] > 0.7
        assert result.speed["rows"] > 0
    assert TableData.kept[:2] == [run.path, folder.path]
    rebuilt = rebuild(run)
    assert (rebuilt.weights, rebuilt.example[0].shape) == ("best", (2, 4))
    assert parameter_count(rebuilt.network) == results[0].parameters
    assert rebuild(run, "inherit").network(*rebuilt.example).shape == (2, 2)


def test_options_of_other_kinds_are_refused() -> None:
    for data, size, message in (
        ({"subset": 5}, {}, "--subset is for images: leave it out with 'sums'"),
        ({"bptt": 5}, {}, "--bptt is for text: leave it out with 'sums'"),
        ({}, {"partial_channels": 2}, "--partial-channels is for images"),
        ({"rows": 5}, {}, "Setting 'rows' of the data: there is no such setting"),
    ):
        with pytest.raises(nasp.UsageError, match=message):
            search_job({"name": "sums", **data}, None, size, {}, {})
    with pytest.raises(nasp.UsageError, match="--columns is for tabular: leave it out"):
        search_job({"name": "digits", "columns": 5}, None, {}, {}, {})
    with pytest.raises(nasp.UsageError, match="'sums' is tabular: choose one of tables, or other"):
        search_job({"name": "sums"}, "darts", {}, {}, {})


def test_the_commands_know_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def called(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["nasp", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        assert ended.value.code in (0, None), err
        return out

    out = str(tmp_path / "run")
    summary = json.loads(called("search", "--space", "tables", "--out", out, "--json"))
    assert [row["name"] for row in summary["training"]] == ["found", "random-1", "perceptron"]
    assert summary["training"][0]["rows_per_second"] > 0
    shown = called("show", out)
    assert "parameters at 4 channels, 2 cells, a table of 3 columns" in shown
    table = called("resume", f"{out}/train")
    assert "Accuracy" in table
    assert "rows/s" in table
    assert re.search(r"a perceptron +\d+ +\d+\.\d\d% ", table)
