"""Every command on a GPU."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import nasp
from nasp.cli import main

pytestmark = pytest.mark.cuda

SEARCH = [
    *("search", "--space", "nasbench201-3", "--channels", "4", "--cells", "1", "--epochs", "2"),
    *("--subset", "64", "--batch-size", "16", "--no-train"),
]
TEXT = ["--channels", "8", "--epochs", "1", "--batch-size", "8", "--bptt", "10"]
TRAIN = ["--channels", "4", "--cells", "1", "--epochs", "1", "--subset", "32", "--batch-size", "16"]
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"

KILLED = """
import os, signal
from nasp.runs.checkpoints import Checkpointer
saved, save = [], Checkpointer.save
def save_or_die(self, *arguments):
    save(self, *arguments)
    saved.append(1)
    if len(saved) == 6:
        os.kill(os.getpid(), signal.SIGKILL)
Checkpointer.save = save_or_die
from nasp.cli import main
main()
"""

Run = Callable[..., Any]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Return what runs a command in this process and returns its code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object, code: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["nasp", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert (ended.value.code or 0) == code, err
        assert "Traceback" not in err
        assert "Tensor Cores" not in err
        assert "could not be captured" not in err
        return out, err

    return run


def assert_same_run(one: Path, other: Path) -> None:
    for name in ("alphas.safetensors", "weights.safetensors"):
        tensors, expected = load_file(one / name), load_file(other / name)
        assert tensors.keys() == expected.keys()
        for key, tensor in tensors.items():
            assert torch.equal(tensor, expected[key]), (name, key)
    for name in ("metrics.jsonl", "architecture.json"):
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_from_a_search_to_an_export(run: Run, device: str, tmp_path: Path) -> None:
    out, _ = run(*SEARCH, "--device", device, "--out", "found", "--json")
    assert json.loads(out)["architecture"]
    shown, _ = run("show", "found")
    assert "nor_conv" in shown or "skip_connect" in shown or "pool" in shown
    run("train", "found", *TRAIN, "--device", device, "--beside", "resnet", "--out", "trained")
    assert (tmp_path / "trained" / "best.safetensors").is_file()
    run("evaluate", "trained")
    run("export", "found", "--out", "found.py")  # with statistics measured anew
    for name in ("net.py", "net.onnx", "net.pt2"):
        if name.endswith("onnx"):
            pytest.importorskip("onnxscript")
        run("export", "trained", "--out", name)
        assert (tmp_path / name).is_file()


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_a_training_in_lower_precision(run: Run, device: str, precision: str) -> None:
    run("train", CELL, "--data", "digits", *TRAIN, "--device", device, "--precision", precision)


def test_a_text(run: Run, device: str, tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.mkdir()
    for part, lines in (("train", 40), ("valid", 20), ("test", 20)):
        (text / f"{part}.txt").write_text("one two three four two one four three\n" * lines)
    run("search", "--data", f"text:{text}", *TEXT, "--no-train", "--device", device, "--out", "run")
    run("train", "run", *TEXT, "--device", device)


def test_a_sweep_and_its_bounds(run: Run, device: str) -> None:
    run("sweep", *SEARCH[1:-1], "--complexities", "0,1", "--random", "2", "--device", device)
    bounds = ["--at-most", "params=90k", "--cost", "latency", "--complexity", "0.1"]
    run(*SEARCH, *bounds, "--device", device)


def test_selection(run: Run, device: str) -> None:
    short = ["--select-epochs", "4", "--set-select", "candidates=2", "--set-select", "first_rung=1"]
    run(*SEARCH, "--select", "train", *short, "--device", device)


def test_searches_by_several_seeds_and_contests(run: Run, device: str) -> None:
    few = ["--channels", "4", "--cells", "1", "--subset", "64", "--batch-size", "16"]
    few += ["--device", device, "--epochs", "2"]
    several = ["--space", "nasbench201-3", "--seeds", "2", "--select-epochs", "4"]
    run("repeat", *several, *few)
    run("bench", "quality", "--strategies", "nasp,darts", "--seeds", "1", *few)
    run("bench", "fidelity", "--samples", "10", "--seeds", "1", *few)


def test_killed_and_resumed_it_ends_with_the_same_bits(
    run: Run, device: str, tmp_path: Path
) -> None:
    argv = [*SEARCH, "--device", device, "--uniform", "0.3"]
    run(*argv, "--out", "whole")
    run(*argv, "--out", "again")
    assert_same_run(tmp_path / "again", tmp_path / "whole")
    often = ["--checkpoint-minutes", "0.000001", "--out", "killed"]
    done = subprocess.run([sys.executable, "-c", KILLED, *argv, *often], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "architecture.json").exists()
    run("resume", "killed")
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


def test_a_training_repeats_itself(run: Run, device: str, tmp_path: Path) -> None:
    for out in ("one", "two"):
        run("train", CELL, "--data", "digits", *TRAIN, "--cutout", "2", "--drop-path", "0.2",
            "--device", device, "--out", out)  # fmt: skip
    one, two = (load_file(tmp_path / out / "weights.safetensors") for out in ("one", "two"))
    assert all(torch.equal(tensor, two[name]) for name, tensor in one.items())


def test_fast(run: Run, device: str) -> None:
    run(*SEARCH, "--device", device, "--fast")
    assert not torch.backends.cudnn.benchmark
    assert os.environ.get("CUBLAS_WORKSPACE_CONFIG", ":4096:8") == ":4096:8"


def test_a_device_by_its_number(run: Run, device: str) -> None:
    number = "cpu" if device == "cpu" else f"{device}:0"
    run(*SEARCH, "--device", number)
    _, err = run(*SEARCH, "--device", "cuda:99", code=2)
    assert "There is no device 'cuda:99'" in err


def test_from_python(device: str) -> None:
    network = torch.nn.Sequential(
        nasp.Choice({"a": torch.nn.Linear(4, 3), "b": torch.nn.Linear(4, 3, bias=False)}),
    )
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    found = nasp.search(network, [(x, y)] * 2, [(x, y)] * 2, epochs=2, device=device)
    child = found.build()
    assert child(x.to(next(child.parameters()).device)).shape == (8, 3)
    assert torch.get_deterministic_debug_mode() == 0


def test_measurements(run: Run, device: str, tmp_path: Path) -> None:
    small = ["--space", "nasbench201-3", "--channels", "4", "--cells", "1", "--batch", "4"]
    small += ["--image-size", "8", "--repeats", "5", "--rounds", "1", "--device", device]
    out, _ = run("bench", "cost", *small, "--rows", "floor,nasp", "--json", "measured.json")
    assert "nasp" in out
    assert json.loads((tmp_path / "measured.json").read_text())["failed"] == []


@pytest.mark.parametrize("space", ["darts", "nasbench201", "nasp12", "mobile"])
def test_all_steps_of_a_search_can_be_captured(run: Run, device: str, space: str) -> None:
    small = ["--channels", "8", "--cells", "2", "--batch-size", "4", "--epochs", "1"]
    # Enough for a path that changes all the time, and fails where a capture does.
    run("bench", "epoch", *small, "--space", space, "--steps", "12", "--device", device)
