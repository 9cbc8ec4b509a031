"""`nasp search --devices 2` as a user runs it: killed, resumed, under torchrun; who speaks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nasp.errors import UsageError
from nasp.training.device import make_fabric
from tests.forks import Server
from tests.ranks.pair import two

EPOCHS = 4
SEARCH = [
    *("search", "--device", "cpu", "--devices", "2", "--space", "nasbench201", "--no-train"),
    *("--epochs", str(EPOCHS), "--subset", "128", "--channels", "4", "--cells", "1"),
]
KEPT = ("metrics.jsonl", "alphas.safetensors", "weights.safetensors", "architecture.json")


def after_an_epoch(ended: Callable[[], object], run: Path) -> None:
    """Wait until the run has a line of metrics."""
    lines = run / "metrics.jsonl"
    while not ended() and not (lines.exists() and lines.read_text().count("\n")):
        time.sleep(0.05)


def child_of(process: subprocess.Popen[str]) -> int:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    children = map(int, path.read_text().split())
    (child,) = (pid for pid in children if "nasp" in Path(f"/proc/{pid}/cmdline").read_text())
    return child


@pytest.fixture(scope="module")
def whole(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped; its processes have what torchrun tells those it starts."""
    run = tmp_path_factory.mktemp("ranks") / "whole"
    torchrun = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2"}
    first, second = two(server, [*SEARCH, "--out", run], torchrun)
    assert (first.wait(), second.wait()) == (0, 0), first.err
    assert "Run folder:" in first.out
    assert second.out == second.err == ""  # one of them speaks
    return run


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for the child in /proc")
def test_a_killed_process_ends_the_run_which_goes_on_to_the_same_bits(
    server: Server, whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "nasp", *SEARCH, "--out", run], stderr=subprocess.PIPE, text=True
    )
    after_an_epoch(process.poll, run)
    os.kill(child_of(process), signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.splitlines()[-1] == (
        "nasp: Another process of this run has ended, so this one does, too. What the last"
        f" checkpoint holds is safe; go on with: nasp resume {run}"
    )
    other = shutil.copytree(run, tmp_path / "other")
    first, second = two(server, ["resume", run])
    assert (first.wait(), second.wait()) == (0, 0), first.err
    for name in KEPT:
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    alone = server.run(["resume", other, "--devices", "1"])
    assert alone.code == 0
    assert "This run was at work in 2 processes, and goes on in 1" in alone.err
    assert json.loads((other / "config.json").read_text())["ranks"] == 1
    lines = [json.loads(line) for line in (other / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, len(lines) + 1))
    in_doubt = lines[-1]["knows"] is False
    # In doubt the trainings have the last quarter.
    assert len(lines) == EPOCHS or (in_doubt and len(lines) == 3 * EPOCHS // 4)
    assert (other / "architecture.json").is_file()


@pytest.mark.slow
def test_when_the_first_process_is_killed_another_says_so_and_ends(
    server: Server, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    first, second = two(server, [*SEARCH, "--out", run])
    after_an_epoch(lambda: False, run)
    assert first.kill() == -signal.SIGKILL
    assert second.wait() == 1
    assert second.err.splitlines()[-1].endswith(f"go on with: nasp resume {run}")


def test_processes_of_torchrun_that_the_run_does_not_know_are_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UsageError, match="torchrun started 2 processes, but the run is to have 1"):
        make_fabric("cpu", "32-true")


@pytest.mark.parametrize(
    ("device", "message"),
    [("cuda:1", "Several devices are cuda or cpu, and not 'cuda:1'"), ("mps", "no device 'mps'")],
)
def test_one_device_by_its_number_cannot_be_several(
    device: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(UsageError, match=message):
        make_fabric(device, "32-true", devices=2)


def test_more_gpus_than_there_are_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    with pytest.raises(UsageError, match="has 2 CUDA GPUs, and devices are to be 3: give 2"):
        make_fabric("cuda", "32-true", devices=3)
