"""Run folders of every sort, made once: tiny searches, and what stops them short."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import nasp
from nasp.bench.contests.sweep.job import sweep_job
from nasp.bench.contests.sweep.run import begin_sweep
from nasp.cli import app
from nasp.jobs.options import search_job
from nasp.spaces import find_space
from nasp.spaces.sampling import random_architecture


def run_command(*arguments: Any) -> str:
    """Run a command of nasp in this process; return what it says."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


@pytest.fixture(scope="session")
def call() -> Callable[..., str]:
    """Return what runs a command of nasp and returns what it says."""
    return run_command


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of runs: one searched and trained, killed, random, own, and a sweep."""
    root = tmp_path_factory.mktemp("runs")
    search = ("search", "--subset", 96, "--no-train", "--json")
    bounded = ("--at-most", "params=150K", "--epochs", 3, "--select", "rerank")
    run_command(*search, *bounded, "--out", root / "first")
    run_command(
        "train", root / "first", "--epochs", 1, "--subset", 96, "--beside", "random:1", "--json"
    )
    run_command(*search, "--strategy", "random", "--out", root / "random")
    kill(root / "first", root / "killed")
    torch.manual_seed(0)
    data = [(torch.randn(8, 5), torch.randint(3, (8,))) for _ in range(4)]
    choice = {"<b>odd</b>": nn.Linear(5, 5), "tanh": nn.Tanh()}
    skip = nasp.Choice({"linear": nn.Linear(5, 5), "skip": nn.Identity()})
    net = nn.Sequential(nasp.Choice(choice), skip, nn.Linear(5, 3))
    found = nasp.search(net, data, data, epochs=4, average=0.0, run=root / "own")
    nasp.train(found, data, data, epochs=2, run=root / "own-train")
    sweep(root / "sweep")
    return root


def kill(run: Path, copy: Path) -> None:
    """Leave of a run what it would have, had it been killed after its last epoch."""
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "train")
    for name in ("architecture.json", "weights.safetensors", "alphas.safetensors"):
        (copy / name).unlink()
    (copy / "selection.json").unlink()


def sweep(path: Path) -> None:
    """Write the folder of a finished sweep, its figures made up."""
    common = search_job({"name": "digits"}, "nasbench201", {}, {"epochs": 1}, {})
    folder = begin_sweep(path, sweep_job(common, [0.0, 1.0], [], [], 1, {}))
    space = find_space("nasbench201")
    cells = [space.notation(random_architecture(space, seed)) for seed in range(3)]

    def over(value: float) -> dict[str, float]:
        return {"mean": value, "min": value, "max": value}

    points = [
        {"setting": f"complexity={eta}", "seed": 0, "cost": cost, "error": error, **rest}
        for eta, cost, error, rest in (
            (0, 200_000.0, 0.1, {"architecture": cells[0], "on_front": True}),
            (1, 100_000.0, 0.2, {"architecture": cells[1], "on_front": True}),
        )
    ]
    report = {
        "format": 2,
        "cost": "parameters",
        "network": "1 cell a stage, 16 channels",
        "error": "test error in the table",
        "rows": [
            {
                "name": point["setting"],
                "cost": over(point["cost"]),
                "error": over(point["error"]),
                "on_front": 1,
                "better_than": 1.0,
            }
            for point in points
        ],
        "points": [{**point, "better_than": 1.0, "run": "runs/x/seed-0"} for point in points],
        "random": [{"cost": 150_000.0, "error": 0.3, "architecture": cells[2]}],
        "random_beaten": 1.0,
        "measurements": {},
    }
    (folder.path / "sweep.json").write_text(json.dumps(report))
    (folder.path / "front.png").touch()
