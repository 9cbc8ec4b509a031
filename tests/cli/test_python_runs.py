"""`nasp show` and `nasp resume` of runs that were begun in Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner, Result

import nasp
from nasp.cli import app
from nasp.errors import UsageError


def call(*arguments: Any) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    data = [(torch.randn(8, 5), torch.randint(3, (8,))) for _ in range(2)]
    net = nn.Sequential(nasp.Choice({"a": nn.Linear(5, 5), "b": nn.Tanh()}), nn.Linear(5, 3))
    found = nasp.search(net, data, data, epochs=2, run=tmp_path / "search", select="rerank")
    nasp.train(found, data, data, epochs=3, run=tmp_path / "train")
    return tmp_path


def test_show_tells_how_it_went(runs: Path) -> None:
    shown = call("show", runs / "search", "--no-latency")
    assert shown.exit_code == 0, shown.output
    assert "val loss" in shown.output
    assert "Not finished" not in shown.output
    summary = json.loads(call("show", runs / "search", "--json").output)
    assert (summary["kind"], summary["epochs"], summary["epochs_done"]) == ("search", 2, 2)
    assert summary["architecture"]["edges"].keys() == {"0"}
    summary = json.loads(call("show", runs / "train", "--json").output)
    assert (summary["kind"], summary["epochs"], summary["finished"]) == ("train", 3, True)
    call("show", runs / "search", "--plot", runs / "curves.png")
    assert (runs / "curves.png").is_file()
    (runs / "search" / "weights.safetensors").unlink()
    shown = call("show", runs / "search", "--no-latency")
    assert f"Next: nasp.search(..., run='{runs / 'search'}')" in shown.output


@pytest.mark.parametrize("command", ["resume", "train", "export"])
def test_only_python_goes_on(runs: Path, command: str) -> None:
    result = call(command, runs / "search")
    assert isinstance(result.exception, UsageError)
    assert "begun from Python" in str(result.exception)


def test_a_finished_search_of_the_commands_goes_on(tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = ("--epochs", 1, "--subset", 64, "--no-train", "--json")
    assert call("search", *options, "--out", run).exit_code == 0
    longer = call("resume", run, "--epochs", 3, "--json")
    assert json.loads(longer.stdout)["epochs"] == 3
    assert json.loads(call("resume", run, "--json").stdout)["epochs"] == 3
    assert "is to have 3 epochs already" in str(call("resume", run, "--epochs", 2).exception)
