"""Runs side by side: what differs, curves on one scale, what each reached; as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner, Result

from nasp.bilevel.settings import SearchConfig
from nasp.cli import app
from nasp.complexity import parameter_count
from nasp.domains.images.data import ImageConfig
from nasp.domains.images.train import ImageTrainConfig
from nasp.errors import UsageError
from nasp.jobs.job import begin
from nasp.jobs.search_job import SearchJob
from nasp.jobs.train_job import TrainJob
from nasp.report.comparison import (
    LEVELS,
    best,
    compared,
    differing,
    differing_settings,
    flat,
    sparkline,
)
from nasp.runs.folder import RunFolder
from nasp.spaces import NetworkConfig, find_space

SPACE = find_space("nasbench201")
CELL = SPACE.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|none~2|")
OTHER = SPACE.parse("|nor_conv_1x1~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|none~2|")
SIZE = {"data": ImageConfig(name="digits"), "space": "nasbench201", "channels": 4, "cells": 1}


def fill(run: RunFolder, measured: str, accuracies: list[float | None]) -> RunFolder:
    for epoch, accuracy in enumerate(accuracies, 1):
        figures = {} if accuracy is None else {f"{measured}_accuracy": accuracy}
        run.append_metrics({"epoch": epoch, "train_loss": 2.0 / epoch, **figures})
        run.append_timing({"epoch": epoch, "seconds": 1.5})
    return run


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(app, ["compare", *(str(argument) for argument in arguments)])


@pytest.fixture
def runs(tmp_path: Path) -> list[RunFolder]:
    """Return a finished search whose result was trained, one under way, and the training."""
    first = begin(tmp_path / "a", SearchJob(**SIZE, search=SearchConfig(epochs=2)))
    fill(first, "val", [0.5, 0.75])
    CELL.save(first.architecture_path)
    first.save_tensors("weights.safetensors", {"w": torch.ones(1)})
    search = SearchConfig(epochs=9, lr=0.5, settings={"lr": 0.1})
    second = fill(begin(tmp_path / "b", SearchJob(**SIZE, search=search)), "val", [None, 0.25])
    recipe = ImageTrainConfig(epochs=2, lr=0.5, auxiliary=0.0, drop_path=0.0)
    trained = TrainJob(**SIZE, architecture=dict(OTHER.edges), train=recipe)
    third = fill(begin(first.path / "train", trained), "test", [0.875, 0.8125])
    return [first, second, third]


def test_what_runs_have_in_common_and_what_not(runs: list[RunFolder]) -> None:
    first, second, third = compared(runs)
    assert [each.name for each in (first, second, third)] == ["a", "b", "train"]
    assert differing([first.settings, second.settings]) == {"epochs": [2, 9], "lr": [0.025, 0.5]}
    assert differing_settings([first, second]) == {
        **{"epochs": [2, 9], "lr": [0.025, 0.5], "settings.lr": [None, 0.1]},
    }
    assert differing_settings([first, third]) == differing([first.settings, third.settings])
    assert "lr" in differing([first.settings, third.settings])
    assert differing([first.edges, third.edges]) == {"cell/0": ["nor_conv_3x3", "nor_conv_1x1"]}
    assert second.curves == {"train_loss": [2.0, 1.0], "val_accuracy": [None, 0.25]}
    assert (first.finished, second.finished) == (True, False)
    assert (first.epochs, first.seconds) == (2, 3.0)
    assert first.test == third.test == {"accuracy": 0.8125}
    assert (second.test, second.edges, second.parameters) == ({}, {}, None)
    size = NetworkConfig(in_channels=1, image_size=8, classes=10, channels=4, cells=1)
    assert first.parameters == parameter_count(SPACE.network(CELL, size))
    assert third.parameters == parameter_count(SPACE.network(OTHER, size))
    (runs[2].path / "test.json").write_text(json.dumps({"accuracy": 0.5, "epoch": 2}))
    assert compared(runs)[0].test == {"accuracy": 0.5}


def test_the_command_prints_them_and_tells_them_as_json(runs: list[RunFolder]) -> None:
    paths = [run.path for run in runs]
    printed = call(*paths).output
    assert f"a    {LEVELS[4]}{LEVELS[7]}" in printed
    assert "50.00%  75.00%" in printed
    assert f"b     {LEVELS[0]}" in printed  # not measured in the first epoch
    assert "search (not finished)" in printed
    assert "81.25%" in printed
    assert "nor_conv_1x1" in printed
    told = json.loads(call(*paths, "--json").output)
    assert [each["kind"] for each in told["runs"]] == ["search", "search", "train"]
    assert told["settings"]["lr"] == [0.025, 0.5, 0.5]
    assert told["edges"] == {"cell/0": ["nor_conv_3x3", "nor_conv_1x1"]}
    assert "Settings that differ: none." in call(paths[0], _twin(runs[0])).output


def _twin(run: RunFolder) -> Path:
    twin = RunFolder.create(run.path.parent / "twin", run.config())
    return fill(twin, "val", [0.5, 0.75]).path


def test_what_cannot_be_compared_is_one_sentence(runs: list[RunFolder], tmp_path: Path) -> None:
    sweep = RunFolder.create(tmp_path / "sweep", {"kind": "sweep", "job": {}})
    for paths, message in (
        ([runs[0].path], "at least two"),
        ([runs[0].path, f"{runs[0].path}/."], "each once"),
        ([runs[0].path, sweep.path], "no search or training"),
        ([runs[0].path, tmp_path], "is not a run folder"),
    ):
        result = call(*paths)
        assert isinstance(result.exception, UsageError)
        assert message in str(result.exception)


def test_a_sparkline_is_on_the_scale_of_all(runs: list[RunFolder]) -> None:
    assert sparkline([0.0, 0.5, 1.0], 0.0, 1.0, 3) == LEVELS[0] + LEVELS[4] + LEVELS[7]
    assert sparkline([0.25, 0.25], 0.25, 0.25, 2) == LEVELS[7] * 2
    assert sparkline([0.0, None, float("nan"), 2.0], 0.0, 1.0, 4) == f"{LEVELS[0]}  {LEVELS[7]}"
    long = sparkline([float(i) for i in range(1000)], 0.0, 999.0, 1000)
    assert len(long) == 32
    assert list(long) == sorted(long)
    assert long[-1] == LEVELS[7]
    assert len(sparkline([1.0] * 500, 0.0, 1.0, 1000)) == 16  # half as long as the longest
    assert best("val_accuracy", [0.5, 0.75, None, 0.75]) == (0.75, 2)
    assert best("val_loss", [float("nan"), 2.0, 1.0, 1.0]) == (1.0, 3)
    assert best("val_loss", [None]) is None
    assert flat({"a": {"b": 1, "c": {}}, "d": [2]}) == {"a.b": 1, "a.c": {}, "d": [2]}
