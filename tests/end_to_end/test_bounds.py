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


@pytest.mark.parametrize("options", [[], ["--average", "0"], ["--strategy", "darts"]])
@pytest.mark.parametrize("target", [90e3, 315e3])
def test_a_target_is_met_whoever_searches(
    target: float,
    options: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "run"
    asked = ["--target", f"params={target:.0f}", "--within", "3%", *options]
    assert run(monkeypatch, *TINY, *asked, "--out", str(folder), "--json") == 0
    (params,) = json.loads(capsys.readouterr().out)["bounds"]
    found = Architecture.load(folder / "architecture.json")
    paid = parameter_count(find_space("nasbench201").network(found, FINAL))
    assert params["reached"] == paid
    assert abs(paid / target - 1) <= 0.03
    assert (params["target"], params["within"], params["met"]) == (target, 0.03, True)


@pytest.mark.parametrize("strategy", ["nasp", "random", "params"])
def test_a_selections_contenders_meet_the_target(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    asked = ["--target", "params=150k", "--strategy", strategy, "--select", "train"]
    short = ["--select-epochs", "4", "--set-select", "first_rung=1"]
    assert run(monkeypatch, *TINY, *asked, *short, "--out", str(folder)) == 0
    contenders = json.loads((folder / "selection.json").read_text())["contenders"]
    assert len(contenders) >= 2
    for each in contenders:
        architecture = Architecture(each["edges"], "nasbench201")
        paid = parameter_count(find_space("nasbench201").network(architecture, FINAL))
        assert abs(paid / 150e3 - 1) <= 0.05


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
        (["--target", "params=1k"], "nearest possible is 73.02K (1 cell a stage, 16 channels)"),
        (["--target", "params=90k", "--within", "five"], "'five' is no share: write 5% or 0.05"),
        (["--target", "params=1M", "--at-most", "params=1M"], "has a bound and a target"),
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
