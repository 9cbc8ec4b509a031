"""A sweep from settings to front: resumed, judged three ways, refused."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from nasp.bench.contests.sweep.controls import Search
from nasp.bench.contests.sweep.job import SweepJob, sweep_job
from nasp.bench.contests.sweep.run import begin_sweep, report_of, run_sweep, sweep_of
from nasp.bench.tables.accuracies import open_table
from nasp.cli import main
from nasp.complexity import parameter_count
from nasp.errors import NaspError, UsageError
from nasp.jobs.options import search_job
from nasp.jobs.search import run_search_job
from nasp.jobs.search_job import SearchJob
from nasp.runs.folder import RunFolder
from nasp.runs.interruption import Interrupted
from nasp.spaces import NetworkConfig, find_space
from nasp.training.events import Event, Noted, Stepped

SPACE = "nasbench201-3"
DATA = {"name": "digits", "subset": 60, "batch_size": 20}


def plan(**settings: Any) -> SweepJob:
    search = search_job(DATA, SPACE, {"channels": 2, "cells": 1}, {"epochs": 2}, {"lr": 0.05})
    asked: dict[str, Any] = {
        "complexities": [0.0, 30.0],
        "bounds": [],
        "targets": [],
        "seeds": 2,
        "size": {"channels": 4, "cells": 1},
        "error": "table",
        "random": 10,
        "table": None,
        "train_epochs": None,
    }
    return sweep_job(search, **{**asked, **settings})


def test_the_heavier_weight_finds_the_smaller_network(tmp_path: Path) -> None:
    job = plan()
    report = run_sweep(job, begin_sweep(tmp_path / "s", job))
    free, heavy = report["rows"]
    assert (free["name"], heavy["name"]) == ("complexity=0", "complexity=30")
    assert heavy["cost"]["max"] < free["cost"]["min"]
    assert report["cost"] == "parameters"
    assert report["network"] == "1 cell a stage, 4 channels"
    table = open_table(None, "digits", SPACE)
    space = find_space(SPACE)
    size = NetworkConfig(in_channels=1, image_size=8, channels=4, cells=1)
    assert len(report["points"]) == 4
    for point in report["points"] + report["random"]:
        cell = space.parse(point["architecture"])
        assert point["error"] == pytest.approx(1 - table.accuracy(cell) / 100)
        assert point["cost"] == parameter_count(space.network(cell, size))
    for point in report["points"]:
        inner = RunFolder.open(tmp_path / "s" / point["run"])
        assert inner.config()["job"]["search"]["complexity"] in (0.0, 30.0)
    assert any(point["on_front"] for point in report["points"])
    assert len({row["architecture"] for row in report["random"]}) == 10
    assert report_of(RunFolder.open(tmp_path / "s")) == report
    kept = json.loads((tmp_path / "s" / "sweep.json").read_text())["measurements"]
    assert set(kept) >= {point["setting"] + f", seed {point['seed']}" for point in report["points"]}
    assert (tmp_path / "s" / "front.png").stat().st_size > 5000


def test_a_sweep_that_was_stopped_ends_the_same(tmp_path: Path) -> None:
    job = plan(error="shared", random=3)
    steps = 0

    def stop(event: Event) -> None:
        nonlocal steps
        steps += isinstance(event, Stepped)
        if steps in (9, 30):
            steps += 1
            os.kill(os.getpid(), signal.SIGINT)

    folder = begin_sweep(tmp_path / "stopped", job)
    for _ in range(2):
        with pytest.raises(
            Interrupted, match=r"Stopped with \d .* to go: nasp resume .*stopped goes"
        ):
            run_sweep(job, folder, stop)
        assert report_of(folder) is None
    again = RunFolder.open(tmp_path / "stopped")
    assert sweep_of(again) == job
    seen: list[Event] = []
    resumed = run_sweep(job, again, seen.append)
    assert sum(isinstance(event, Noted) for event in seen) < 5  # what was done is not done again
    whole = run_sweep(job, begin_sweep(tmp_path / "whole", job))
    assert resumed == whole
    assert resumed["error"] == "validation error under shared weights"
    assert all(0 <= point["error"] <= 1 for point in whole["points"])
    assert run_sweep(job, again) == whole
    # Killed between a run's last byte and the sweep's.
    (again.path / "sweep.json").unlink()
    seen.clear()
    assert run_sweep(job, again, seen.append) == whole
    assert not any(isinstance(event, Stepped) for event in seen)


def test_a_search_that_fails_does_not_stop_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, folder, search = plan(seeds=1), tmp_path / "s", run_search_job

    def fail(job: SearchJob, *others: Any) -> Any:
        if job.search.complexity == 0:
            raise NaspError("The loss became nan.")
        return search(job, *others)

    monkeypatch.setattr("nasp.jobs.search.run_search_job", fail)
    with pytest.raises(NaspError, match=r"^1 could not be .* \(complexity=0, seed 0: The loss bec"):
        run_sweep(job, begin_sweep(folder, job))
    monkeypatch.undo()
    seen: list[Event] = []
    report = run_sweep(job, RunFolder.open(folder), seen.append)
    said = [event.message for event in seen if isinstance(event, Noted)]
    assert [text.partition("]")[2] for text in said if "seed" in text] == [" complexity=0, seed 0"]
    assert report["failed"] == []
    assert len(report["points"]) == 2


def test_bounds_are_swept_and_judged_by_training(tmp_path: Path) -> None:
    free, tight = 7000, 6000
    bounds = [f"params={free}", f"params={tight}"]
    job = plan(complexities=[], bounds=bounds, error="train", train_epochs=1, seeds=1, random=1)
    report = run_sweep(job, begin_sweep(tmp_path / "s", job))
    assert report["error"] == "test error after 1 epoch"
    assert [row["name"] for row in report["rows"]] == ["parameters=7K", "parameters=6K"]
    for row, most in zip(report["rows"], (free, tight), strict=True):
        assert row["cost"]["max"] <= most
    trained = list((tmp_path / "s" / "trained").iterdir())
    kept = json.loads((tmp_path / "s" / "sweep.json").read_text())["measurements"]
    found = [value["architecture"] for value in kept.values() if "architecture" in value]
    assert len(found) == 6  # of each bound: the search's, the largest, the best random one
    assert len(trained) == len({*found, *(each["architecture"] for each in report["random"])})
    config = json.loads((trained[0] / "config.json").read_text())
    assert config["job"]["train"]["epochs"] == 1
    assert config["job"]["data"]["subset"] == 60


def test_targets_are_swept(tmp_path: Path) -> None:
    job = plan(complexities=[], targets=["params=6K", "params=8K"], seeds=1, random=1)
    report = run_sweep(job, begin_sweep(tmp_path / "s", job))
    assert [row["name"] for row in report["rows"]] == ["parameters~6K", "parameters~8K"]
    for row, target in zip(report["rows"], (6e3, 8e3), strict=True):
        assert abs(row["cost"]["max"] / target - 1) <= 0.05


def test_at_a_given_cost_controls_take_part(tmp_path: Path) -> None:
    job = plan(complexities=[], targets=["params=6K", "params=8K"], seeds=2, random=0)
    selection = job.search.search.selection.model_copy(update={"first_rung": 1})
    config = job.search.search.model_copy(update={"selection": selection})
    search = job.search.model_copy(update={"search": config})
    job = job.model_copy(update={"search": search})
    report = run_sweep(job, begin_sweep(tmp_path / "s", job))
    kept = json.loads((tmp_path / "s" / "sweep.json").read_text())["measurements"]
    space, table = find_space(SPACE), open_table(None, "digits", SPACE)

    def error(key: str) -> float:
        return 1 - table.accuracy(space.parse(kept[key]["architecture"])) / 100

    assert [control["name"] for control in report["controls"]] == ["params", "random"]
    for control in report["controls"]:
        assert (control["pairs"], control["seeds"]) == (4, 2)
        differences = []
        for name in ("parameters~6K", "parameters~8K"):
            for seed in (0, 1):
                other = error(f"{name}, {control['name']}, seed {seed}")
                differences.append(other - error(f"{name}, seed {seed}"))
        assert control["mean"] == pytest.approx(sum(differences) / 4)
        assert control["wins"] == sum(difference > 1e-9 for difference in differences)
    random = tmp_path / "s" / "runs" / "parameters~6K" / "random-seed-0"
    asked = json.loads((random / "config.json").read_text())["job"]["search"]
    # Two epochs, each with as many A steps, that cost two w steps, as w steps, are six of training.
    assert (asked["select"], asked["selection"]["epochs"]) == ("train", 6)
    size = NetworkConfig(in_channels=1, image_size=8, channels=4, cells=1)
    for name, target in (("parameters~6K", 6e3), ("parameters~8K", 8e3)):
        for key in (f"{name}, params, seed 0", f"{name}, random, seed 0"):
            cell = space.parse(kept[key]["architecture"])
            assert abs(parameter_count(space.network(cell, size)) / target - 1) <= 0.05


@pytest.mark.parametrize(
    ("search", "length", "epochs"),
    [
        ({}, {}, 3),  # a pass of 30 steps: every has room for 2 weight steps, 60 // 100 for 1
        ({"epochs": 40}, {}, 50),  # eight to one: 40 * (1 + 2 / 8)
        ({"epochs": 2, "least_steps": 800}, {}, 3),  # epochs of 400 steps, eight to one: 2.5
        ({"strategy": "darts", "epochs": 4}, {}, 12),
        ({"strategy": "synflow", "epochs": 4}, {}, 2),  # no steps at all
        ({"minutes": 1.0}, {"epochs": 5, "epoch_steps": 200}, 7),
    ],
)
def test_random_cells_train_as_long_as_the_search_beside_them(
    search: dict[str, Any], length: dict[str, int], epochs: int
) -> None:
    asked = {"epochs": 1, "fallback": "none", **search}
    size, selection = {"channels": 2, "cells": 1}, {"first_rung": 1}
    common = search_job(DATA, SPACE, size, asked, {}, selection=selection)
    job = plan(complexities=[], targets=["params=6K"], random=0).model_copy(
        update={"search": common}
    )
    control = Search(job.settings[0], 0, "random").job(job, 30, length).search
    assert (control.select, control.selection.epochs) == ("train", epochs)
    assert control.minutes is None
    assert control.epoch_steps == length.get("epoch_steps")


def test_a_sweep_over_minutes_has_its_controls(tmp_path: Path) -> None:
    search = search_job(DATA, SPACE, {"channels": 2, "cells": 1}, {"minutes": 0.02}, {})
    job = plan(complexities=[], targets=["params=6K"], seeds=1, random=0)
    job = job.model_copy(update={"search": search})
    report = run_sweep(job, begin_sweep(tmp_path / "s", job))
    assert [control["name"] for control in report["controls"]] == ["params", "random"]
    runs = tmp_path / "s" / "runs" / "parameters~6K"
    own, random = (
        json.loads((runs / name / "config.json").read_text())
        for name in ("seed-0", "random-seed-0")
    )
    length = own["within_minutes"]
    assert random["job"]["search"]["epoch_steps"] == length["epoch_steps"]
    assert random["job"]["search"]["selection"]["epochs"] >= length["epochs"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"targets": ["params=6K"]}, "Say what to sweep over"),
        ({"complexities": []}, "Say what to sweep over"),
        ({"bounds": ["params=1M"]}, "Say what to sweep over"),
        ({"complexities": [], "bounds": ["params=1M", "macs=1M"]}, "on one cost, not macs, param"),
        ({"error": "taste"}, "Unknown error 'taste': choose one of shared, table, train"),
        ({"error": "shared", "table": "t.csv"}, "--table is read by --error table"),
        ({"train_epochs": 3}, "those of --error train"),
        ({"complexities": [0.1, 0.1]}, "each setting once"),
        ({"size": {"channels": 0}}, "Setting 'size.channels' of the sweep"),
    ],
)
def test_mistakes(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(**settings)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["nasp", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(tmp_path / "s")
    small = ["--space", SPACE, "--channels", "2", "--subset", "60", "--batch-size", "20"]
    swept = ["--complexities", "0,1", "--epochs", "1", "--error", "table", "--random", "5"]
    assert command(monkeypatch, "sweep", *small, *swept, "--out", folder) == 0
    printed = capsys.readouterr()
    assert "complexity=1" in printed.out
    assert "better than: of those of 5 random architectures" in printed.out
    assert "[2/2] complexity=1, seed 0" in printed.err
    assert command(monkeypatch, "resume", folder, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in report["rows"]] == ["complexity=0", "complexity=1"]
    assert command(monkeypatch, "show", folder) == 0
    assert capsys.readouterr().out == printed.out
    assert command(monkeypatch, "show", folder, "--plot", "front.svg") == 2
    assert "The picture of a sweep is" in capsys.readouterr().err
    # A folder that is taken, a report that is damaged or missing, and bounds that nothing keeps.
    assert command(monkeypatch, "sweep", *small, *swept, "--out", folder) == 2
    assert f"nasp resume {folder}" in capsys.readouterr().err
    Path(folder, "sweep.json").write_text("{")
    assert command(monkeypatch, "show", folder) == 1
    assert "sweep.json is damaged" in capsys.readouterr().err
    Path(folder, "sweep.json").unlink()
    assert command(monkeypatch, "show", folder) == 2
    assert f"not finished. Next: nasp resume {folder}" in capsys.readouterr().err
    impossible = ["--at-most", "params=1M", "--at-most", "params=10", "--out", folder + "2"]
    assert command(monkeypatch, "sweep", *small, *impossible) == 2
    assert "bound of 10 parameters: the smallest possible is" in capsys.readouterr().err
    assert not Path(folder + "2").exists()
    assert command(monkeypatch, "sweep", "--complexities", "0,much") == 2
    assert "takes numbers such as 0,0.1,0.3, not '0,much'" in capsys.readouterr().err


@pytest.mark.parametrize("error", ["train", "shared"])
def test_one_that_cannot_be_judged_says_so_before_it_begins(tmp_path: Path, error: str) -> None:
    job = plan(error=error, random=0)
    few = job.search.data.model_copy(update={"subset": 1})
    job = job.model_copy(update={"search": job.search.model_copy(update={"data": few})})
    folder = begin_sweep(tmp_path / "s", job)
    with pytest.raises(UsageError, match=r"could not be judged by .* error .*: There is 1 image"):
        run_sweep(job, folder)
    assert not (folder.path / "runs").exists()
    assert not folder.is_under_way


def test_its_data_may_be_moved(tmp_path: Path) -> None:
    for kind, grey in (("dark", 40), ("light", 200)):
        for i in range(10):
            path = tmp_path / "photos" / kind / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (grey + i, grey, grey)).save(path)
    data = {"name": f"folder:{tmp_path / 'photos'}", "workers": 0}
    search = search_job(data, SPACE, {"channels": 2, "cells": 1}, {"epochs": 1}, {})
    size = {"channels": 4, "cells": 1}
    job = sweep_job(search, [0.0], [], [], 1, size, "train", 1, None, 1)
    folder = begin_sweep(tmp_path / "s", job)
    report = run_sweep(job, folder)
    (tmp_path / "photos").rename(tmp_path / "pictures")
    plan_again = sweep_of(RunFolder.open(folder.path))
    assert plan_again == job
    moved = job.search.moved(f"folder:{tmp_path / 'pictures'}")
    assert run_sweep(job.model_copy(update={"search": moved}), folder) == report
