"""Bounds on the command line: kept, and in one sentence impossible."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from nasp.cli import main
from nasp.complexity import parameter_count
from nasp.complexity.costs import macs
from nasp.domains import find_domain
from nasp.spaces import NetworkConfig, find_space
from nasp.supernet.architecture import Architecture


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["nasp", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


TINY = ["search", "--no-train", "--channels", "4", "--epochs", "2", "--subset", "60"]
FINAL = NetworkConfig(in_channels=1, image_size=8, channels=16, cells=1)


@pytest.mark.parametrize("seed", range(3))
def test_bounds_hold_for_the_network_that_is_trained(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    bounds = ["--at-most", "params=90k", "--at-most", "macs=1.2M", "--seed", str(seed)]
    assert run(monkeypatch, *TINY, *bounds, "--out", str(folder), "--json") == 0
    summary = json.loads(capsys.readouterr().out)
    found = Architecture.load(folder / "architecture.json")
    network = find_space("nasbench201").network(found, FINAL)
    params, products = summary["bounds"]
    assert params["reached"] == parameter_count(network) <= 90e3
    image = find_domain("images").target(find_space("nasbench201"), FINAL, "cpu")
    call = image.calls[image.supernet.network][0]
    assert products["reached"] == macs(network, *call.args) <= 1.2e6
    assert params["met"]
    assert products["met"]
    assert params["network"] == "1 cell a stage, 16 channels"


def test_another_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    bound = ["--at-most", "params=1M", "--bound-at", "channels=32,cells=2"]
    assert run(monkeypatch, *TINY, *bound, "--out", str(folder)) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "at most 1M: met (2 cells a stage, 32 channels)" in printed
    config = json.loads((folder / "config.json").read_text())
    assert config["job"]["bound_at"] == {"channels": 32, "cells": 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--at-most", "params=1k"], "bound of 1K parameters: the smallest possible is 73.02K (1"),
        (["--at-most", "params=3.3MB"], "'3.3MB' is no amount of parameters"),
        (["--at-most", "3.3M"], "A bound is NAME=AMOUNT"),
        (["--at-most", "latency=5"], "write a number above 0 and a unit"),
        (["--cost", "watts"], "Unknown cost 'watts'"),
        (["--bound-at", "channels=3"], "give one, --at-most NAME=AMOUNT"),
        (["--at-most", "params=1M", "--bound-at", "depth=3"], "takes channels=N,cells=N"),
        (["--cost", "own", "--complexity", "0.1"], "is a function"),
    ],
)
def test_mistakes(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "run"
    assert run(monkeypatch, *TINY, *arguments, "--out", str(folder)) == 2
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert not folder.exists()
