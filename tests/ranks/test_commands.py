"""`nasp search --devices 2` as a user runs it: killed, resumed, under torchrun; who speaks."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nasp.errors import UsageError
from nasp.training.device import make_fabric

NASP = [sys.executable, "-m", "nasp"]
SEARCH = [
    "search",
    "--device",
    "cpu",
    "--devices",
    "2",
    "--space",
    "nasbench201",
    "--epochs",
    "4",
    "--subset",
    "128",
    "--channels",
    "4",
    "--cells",
    "1",
    "--no-train",
]
KEPT = ("metrics.jsonl", "alphas.safetensors", "weights.safetensors", "architecture.json")


def started(command: list[str], *own: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*command, *map(str, own)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def after_an_epoch(process: subprocess.Popen[str], run: Path) -> None:
    """Wait until the run has a line of metrics."""
    lines = run / "metrics.jsonl"
    while process.poll() is None and not (lines.exists() and lines.read_text().count("\n")):
        time.sleep(0.05)


def child_of(process: subprocess.Popen[str]) -> int:
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    (child,) = (
        int(pid)
        for pid in path.read_text().split()
        if "nasp" in Path(f"/proc/{pid}/cmdline").read_text()
    )
    return child


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody stopped, its processes started by torchrun."""
    run = tmp_path_factory.mktemp("ranks") / "whole"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    process = started([*torchrun, "--nproc-per-node", "2", "-m", "nasp"], *SEARCH, "--out", run)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert out.count("Run folder:") == 1  # one of them speaks
    return run


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for the child in /proc")
def test_a_killed_process_ends_the_run_which_goes_on_to_the_same_bits(
    whole: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = started(NASP, *SEARCH, "--out", run)
    after_an_epoch(process, run)
    os.kill(child_of(process), signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err.splitlines()[-1] == (
        "nasp: Another process of this run has ended, so this one does, too. What the last"
        f" checkpoint holds is safe; go on with: nasp resume {run}"
    )
    other = shutil.copytree(run, tmp_path / "other")
    resumed = started(NASP, "resume", run)
    assert resumed.wait(120) == 0
    for name in KEPT:
        assert (run / name).read_bytes() == (whole / name).read_bytes(), name
    alone = started(NASP, "resume", other, "--devices", "1")
    _, err = alone.communicate(timeout=120)
    assert alone.returncode == 0
    assert "This run was at work in 2 processes, and goes on in 1" in err
    assert json.loads((other / "config.json").read_text())["ranks"] == 1
    assert len((other / "metrics.jsonl").read_text().splitlines()) == 4


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for the child in /proc")
def test_when_the_first_process_is_killed_another_says_so_and_ends(tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = started(NASP, *SEARCH, "--out", run)
    after_an_epoch(process, run)
    child = child_of(process)
    process.kill()
    _, err = process.communicate(timeout=60)  # until the child has closed the pipe, too
    assert "go on with: nasp resume" in err.splitlines()[-1]
    deadline = time.monotonic() + 30
    while is_there(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not is_there(child)


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
