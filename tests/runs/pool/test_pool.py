"""Which pool one gets, what cannot be in one sentence, and folders that travel."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch

from nasp.cli import main
from nasp.errors import UsageError, validated
from nasp.runs.pool import InTurn, PoolConfig, crowded, gpus_of, pool_of
from nasp.runs.pool.cluster import Cluster
from nasp.runs.pool.content import packed, unpack
from nasp.runs.pool.processes import Processes
from nasp.runs.pool.task import Content, brought_back


def test_one_after_the_other_is_the_default_and_needs_no_process() -> None:
    assert isinstance(pool_of(PoolConfig()), InTurn)
    for config in (PoolConfig(jobs=2), PoolConfig(cpus_per_job=1)):
        assert isinstance(pool_of(config), Processes)


def test_jobs_that_get_in_each_others_way_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert crowded(PoolConfig()) is None
    assert crowded(PoolConfig(jobs=4, cpus_per_job=2)) is None
    assert crowded(PoolConfig(jobs=4), threads=2) is None
    assert crowded(PoolConfig(jobs=4, on="ray")) is None
    said = crowded(PoolConfig(jobs=4))
    assert said is not None
    assert said.startswith("4 jobs of 8 threads share 8 cores")
    assert "--cpus-per-job 2 is quicker" in said


@pytest.mark.parametrize(
    ("jobs", "each", "expected"),
    [
        (2, 1, ["4", "5"]),
        (2, 0.5, ["4", "5"]),
        (5, 0.5, ["4", "5", "6", "4", "5"]),
        (1, 2, ["4,5"]),
    ],
)
def test_gpus_are_dealt_out(
    jobs: int, each: float, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
    assert gpus_of(jobs, each) == expected


def test_more_gpus_than_there_are_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    with pytest.raises(UsageError, match="2 jobs of 2 GPUs each do not fit on 3: give fewer"):
        pool_of(PoolConfig(jobs=2, gpus_per_job=2))
    with pytest.raises(UsageError, match="more than one GPU a job are a whole number"):
        validated(PoolConfig, {"gpus_per_job": 1.5}, "the jobs")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("bench table --on spark", 2, "--on takes ray or ray://HOST:PORT, not 'spark'."),
        ("bench table --on ray://127.0.0.1:1", 1, "No Ray cluster answers at ray://127.0.0.1:1 (C"),
        ("bench table --jobs 2 --gpus-per-job 1", 2, "2 jobs of 1 GPUs each do not fit on 0"),
        (
            "search --strategy darts --jobs 2",
            2,
            "--jobs is for the trainings of a selection, and this search has",
        ),
        (
            "search --select train --cpus-per-job 1 --devices 2",
            2,
            "--cpus-per-job gives each training a process of its own, and --devices one training",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(
    arguments: str,
    code: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(sys, "argv", ["nasp", *arguments.split()])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == code
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "share" not in line]
    assert line.startswith(f"nasp: {said}")


def test_where_ray_is_missing_one_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'nasp-torch\[ray\]'"):
        Cluster("ray")


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_folder_is_the_same_elsewhere(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    assert packed(here) is None
    for name in ("metrics.jsonl", "checkpoints/step-2.pt", "beside/random-1/config.json"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_text(name)
    kept = files(here)
    (here / ".lock").touch()
    (here / ".config.json.1.tmp").touch()
    (there / "checkpoints").mkdir(parents=True)
    (there / "checkpoints" / "step-1.pt").touch()
    content = packed(here)
    assert content is not None
    assert content == packed(here)
    assert content.index(b"checkpoints/") < content.index(b"metrics.jsonl")
    unpack(content, there)
    assert files(there) == kept


def test_a_folder_comes_back_while_work_goes_on_where_it_has_changed(tmp_path: Path) -> None:
    heard: list[Content] = []
    with brought_back(tmp_path, 0.02, heard.append):
        (tmp_path / "a").touch()
        while not heard:
            pass
        (tmp_path / "b").touch()
        while len(heard) < 2:
            pass
    assert len(heard) == 2
