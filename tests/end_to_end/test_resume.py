"""Killed at any instant, stopped, or out of disk: what is resumed ends with the same bits.

Real processes get real signals. Most are forked from one that has imported all.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.forks import Server

NASP = Path(sys.executable).with_name("nasp")
ENOUGH = 120.0  # seconds until a test gives up on a process

# Counts what a run does to its files and calls `then` before the n-th time. Files that are
# appended to and checkpoints are written in two halves, with a count in between.
COUNT = """
import io, json, os, pathlib, signal, torch
import nasp.runs.folder
left = [{n}]
def count():
    left[0] -= 1
    if left[0] == 0:
        {then}
def counted(owner, name):
    original = getattr(owner, name)
    def call(*arguments, **named):
        count()
        return original(*arguments, **named)
    setattr(owner, name, call)
for owner, name in ((os, "fsync"), (os, "truncate"), (pathlib.Path, "replace"),
                    (pathlib.Path, "unlink"), (pathlib.Path, "mkdir")):
    counted(owner, name)
save = torch.save
def save_halves(state, stream):
    whole = io.BytesIO()
    save(state, whole)
    data = whole.getvalue()
    stream.write(data[:len(data) // 2])
    stream.flush()
    count()
    stream.write(data[len(data) // 2:])
torch.save = save_halves
def append_halves(path, line):
    text = json.dumps(line) + chr(10)
    for half in (text[:len(text) // 2], text[len(text) // 2:]):
        with path.open("a") as stream:
            stream.write(half)
        count()
nasp.runs.folder._append = append_halves
"""
KILL = "os.kill(os.getpid(), signal.SIGKILL)"
FULL = 'raise OSError(28, "No space left on device")'

SEARCH = [
    *("search", "--space", "nasbench201", "--channels", "4", "--cells", "1", "--epochs", "3"),
    *("--subset", "100", "--batch-size", "16", "--uniform", "0.5", "--average", "0.6"),
    *("--no-train", "--cutout", "2", "--fallback", "none"),
]
EACH_STEP = ["--checkpoint-minutes", "0.000001"]
DARTS_CELL = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('skip_connect', 1), ('sep_conv_3x3', 0), "
    "('skip_connect', 1), ('dil_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('max_pool_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)
TRAIN = [
    *("train", DARTS_CELL, "--data", "digits", "--channels", "4", "--cells", "3"),
    *("--epochs", "2", "--subset", "64", "--batch-size", "16"),
]
SMALL_CELL = "|nor_conv_1x1~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"
SELECT = [
    *("search", "--space", "nasbench201-3", "--channels", "4", "--cells", "1", "--epochs", "1"),
    *("--subset", "48", "--batch-size", "16", "--no-train", "--strategy", "random-sharing"),
    *("--select", "train", "--select-epochs", "8", "--set-select", "candidates=4"),
    *("--set-select", "first_rung=1"),
]
REPEAT = [
    *("repeat", "--space", "nasbench201-3", "--channels", "2", "--cells", "1", "--epochs", "2"),
    *("--subset", "48", "--batch-size", "16", "--seeds", "2", "--at-most", "params=95K"),
    *("--select-epochs", "4", "--fallback", "none"),
]
BESIDE = [
    *("train", SMALL_CELL, "--data", "digits", "--channels", "4", "--cells", "1"),
    *("--epochs", "2", "--subset", "48", "--batch-size", "16", "--beside", "random:1"),
]


class Undisturbed:
    """Runs of commands that nothing disturbs, each made once."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.made: dict[str, Path] = {}

    def __call__(self, argv: list[str]) -> Path:
        key = repr(argv)
        if key not in self.made:
            path = self.folder / str(len(self.made))
            child = self.server.run([*argv, "--out", str(path)])
            assert child.code == 0, child.err
            self.made[key] = path
        return self.made[key]


@pytest.fixture(scope="module")
def undisturbed(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(server, tmp_path_factory.mktemp("undisturbed"))


def assert_same_run(path: Path, reference: Path) -> None:
    """All that a run ends with is equal, to the bit; nothing unfinished lies about."""
    names = ("metrics.jsonl", "architecture.json", "alphas.safetensors", "weights.safetensors")
    names += ("selection.json",)
    compared = 0
    for expected in sorted(reference.rglob("*")):
        if expected.name not in (*names, "best.safetensors"):
            continue
        actual = path / expected.relative_to(reference)
        compared += 1
        if expected.suffix == ".safetensors":
            tensors = load_file(actual)
            assert tensors.keys() == load_file(expected).keys()
            for name, tensor in load_file(expected).items():
                assert torch.equal(tensors[name], tensor), (actual, name)
        else:
            assert actual.read_bytes() == expected.read_bytes(), actual
    assert compared >= 3
    for folder in reference.rglob("checkpoints"):
        there = path / folder.relative_to(reference)
        assert latest(there.parent) == latest(folder.parent)
        assert len(list(there.iterdir())) == 2
    lines = (path / "timing.jsonl").read_text().splitlines()
    assert len(lines) == len((reference / "timing.jsonl").read_text().splitlines())


def latest(run: Path) -> int:
    """The step of the latest checkpoint; 0 where there is none."""
    paths = (run / "checkpoints").glob("step-*.pt")
    return max((int(path.stem.removeprefix("step-")) for path in paths), default=0)


def wait_until(condition: Callable[[], bool], alive: Callable[[], bool] = lambda: True) -> None:
    deadline = time.monotonic() + ENOUGH
    while not condition():
        assert time.monotonic() < deadline
        assert alive(), "the process ended too early"
        time.sleep(0.001)


def checkpoints(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").glob("step-*.pt"))


@pytest.fixture(scope="module")
def half_done(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a search that was killed halfway."""
    path = tmp_path_factory.mktemp("half") / "run"
    argv = [*SEARCH, *EACH_STEP, "--out", str(path)]
    assert server.run(argv, COUNT.format(n=90, then=KILL)).code == -signal.SIGKILL
    assert 6 < latest(path) < 15
    return path


def resumed(server: Server, path: Path) -> None:
    child = server.run(["resume", str(path)])
    assert child.code == 0, child.err


@pytest.mark.slow
def test_the_installed_command_is_killed_again_and_again(
    tmp_path: Path, server: Server, undisturbed: Undisturbed
) -> None:
    path = tmp_path / "run"
    process = subprocess.Popen(
        [NASP, *SEARCH, *EACH_STEP, "--out", str(path)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: latest(path) >= 1, lambda: process.poll() is None)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    for step in (7, 12):  # checkpoints come as often as the run was begun with
        assert not (path / "architecture.json").exists()
        child = server.start(["resume", path])
        wait_until(lambda step=step: latest(path) >= step)
        assert child.kill() == -signal.SIGKILL
    assert not (path / "architecture.json").exists()
    child = server.run(["resume", path])
    assert child.code == 0, child.err
    assert re.search(r"Going on after epoch [12], step \d", child.err)
    assert_same_run(path, undisturbed(SEARCH))


def test_a_repeat_that_is_killed_goes_on_by_the_same_command(
    tmp_path: Path, server: Server, undisturbed: Undisturbed
) -> None:
    path, whole = tmp_path / "run", undisturbed(REPEAT)
    argv = [*REPEAT, *EACH_STEP, "--out", str(path)]
    for part in ("seed-1", "selection/train/network-2"):
        child = server.start([*argv, "--jobs", "2"])
        wait_until(lambda part=part: latest(path / part) > 1)
        assert child.kill() == -signal.SIGKILL
        assert (path / "seed-1" / "architecture.json").is_file() == (part != "seed-1")
        assert not (path / "architecture.json").exists()
    begun = (path / "seed-1" / "timing.jsonl").read_text()
    assert server.run(argv).code == 0
    assert (path / "seed-1" / "timing.jsonl").read_text() == begun  # not searched again
    for name in ("architecture.json", "weights.safetensors", "selection.json"):
        assert (path / name).read_bytes() == (whole / name).read_bytes()
    costs = [json.loads((each / "costs.json").read_text()) for each in (path, whole)]
    assert costs[0] == costs[1]
    for seed in ("seed-0", "seed-1"):
        assert_same_run(path / seed, whole / seed)


COMMANDS = {
    "search": SEARCH,
    "train": [*TRAIN, "--auxiliary", "0.4", "--drop-path", "0.3", "--label-smoothing", "0.1"],
    "train-plain": [*TRAIN, "--auxiliary", "0", "--drop-path", "0"],
    "beside": BESIDE,
    "select": SELECT,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_killed_before_any_change_of_a_file(
    tmp_path: Path, server: Server, undisturbed: Undisturbed, name: str
) -> None:
    path, argv = tmp_path / "run", COMMANDS[name]
    begin = [*argv, *EACH_STEP, "--out", str(path)]
    draw = random.Random(name)
    kills, least = 0, 1
    while True:
        command = ["resume", str(path)] if (path / "config.json").exists() else begin
        n = least if kills < 4 else draw.randint(14, 45)
        child = server.run(command, COUNT.format(n=n, then=KILL))
        if child.code == 0:
            break
        assert child.code == -signal.SIGKILL, child.err
        kills, least = kills + 1, least + 1
        assert kills < 60
    assert kills > 6
    assert_same_run(path, undisturbed(argv))


@pytest.mark.slow
@pytest.mark.parametrize("argv", [SEARCH, COMMANDS["train"]], ids=["search", "train"])
def test_killed_while_the_results_are_written(
    tmp_path: Path, server: Server, undisturbed: Undisturbed, argv: list[str]
) -> None:
    path = tmp_path / "run"
    shutil.copytree(undisturbed(argv), path)
    for name in ("weights.safetensors", "alphas.safetensors", "architecture.json"):
        (path / name).unlink(missing_ok=True)
    kills = 0
    for n in range(1, 40):
        child = server.run(["resume", str(path)], COUNT.format(n=n, then=KILL))
        if child.code == 0:
            break
        assert child.code == -signal.SIGKILL, child.err
        kills += 1
        for file in path.glob("*.safetensors"):
            load_file(file)  # whole, or not there
    assert kills >= 5
    assert_same_run(path, undisturbed(argv))


# Sends itself a signal in its n-th step.
SIGNAL = """
import nasp.training.loop, os
stepped, left = nasp.training.loop.Stepped, [{step}]
def step(*arguments):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), {number})
    return stepped(*arguments)
nasp.training.loop.Stepped = step
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_between_two_steps(
    tmp_path: Path, server: Server, undisturbed: Undisturbed, number: signal.Signals
) -> None:
    path = tmp_path / "run"
    # As rarely as by default: the checkpoint is there because of the signal.
    first = SIGNAL.format(number=int(number), step=9)
    child = server.run([*SEARCH, "--out", str(path)], first)
    assert child.code == 1
    said = [line for line in child.err.splitlines() if line.startswith("nasp: ")]
    assert said == [
        f"nasp: Stopped in epoch 2 after step 3; all is saved. Go on with: nasp resume {path}"
    ]
    assert child.err.splitlines()[-1] == said[0]
    assert "Traceback" not in child.err
    assert latest(path) == 9
    assert not (path / "weights.safetensors").exists()
    resumed(server, path)
    assert_same_run(path, undisturbed(SEARCH))


@pytest.mark.parametrize(
    ("step", "where"),
    [
        (3 + 2, "in re-ranking 1 after step 2"),
        (3 + 4 + 2, "in the selection's network 1, rung 1, epoch 1 after step 2"),
        (3 + 4 + 3 * 5 + 1, "in the selection's network 1, rung 2, epoch 3 after step 1"),
    ],
)
def test_a_signal_stops_the_selection_between_two_steps(
    tmp_path: Path, server: Server, undisturbed: Undisturbed, step: int, where: str
) -> None:
    path = tmp_path / "run"
    child = server.run(
        [*SELECT, "--out", str(path)], SIGNAL.format(number=int(signal.SIGINT), step=step)
    )
    assert child.code == 1
    said = f"nasp: Stopped {where}; all is saved. Go on with: nasp resume {path}"
    assert child.err.splitlines()[-1] == said
    assert not (path / "selection.json").exists()
    resumed(server, path)
    whole = undisturbed(SELECT)
    trained = [f"selection/train/network-{number}/metrics.jsonl" for number in range(1, 5)]
    for name in ("selection.json", "architecture.json", *trained):
        assert (path / name).read_bytes() == (whole / name).read_bytes()


def test_stopped_while_training_beside_it_names_the_whole(
    tmp_path: Path, server: Server, undisturbed: Undisturbed
) -> None:
    path = tmp_path / "run"
    rival = path / "beside" / "random-1"
    first = SIGNAL.format(number=int(signal.SIGTERM), step=6 + 2)
    child = server.run([*BESIDE, "--out", str(path)], first)
    assert child.code == 1
    assert latest(rival) == 2
    assert child.err.rstrip().endswith(f"nasp resume {path}")
    resumed(server, path)
    assert_same_run(path, undisturbed(BESIDE))
    assert (rival / "metrics.jsonl").is_file()


def test_ctrl_c_before_the_first_step(tmp_path: Path, server: Server) -> None:
    first = "from nasp.domains.images import data\nimport os, signal\n"
    first += "data.load_images = lambda *a, **k: os.kill(os.getpid(), signal.SIGINT)\n"
    child = server.run([*SEARCH, "--out", str(tmp_path / "run")], first)
    assert child.code == 1
    assert child.err.count("nasp: Stopped") == 1
    assert "Traceback" not in child.err


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "pickle", "old pickle"])
def test_a_damaged_checkpoint_leaves_the_one_before(
    tmp_path: Path, server: Server, undisturbed: Undisturbed, half_done: Path, damage: str
) -> None:
    path = tmp_path / "run"
    shutil.copytree(half_done, path)
    _, last = checkpoints(path)
    marker = tmp_path / "executed"
    data = last.read_bytes()
    if damage == "cut":
        last.write_bytes(data[: len(data) // 2])
    elif damage == "flip":
        middle = len(data) // 2
        last.write_bytes(data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :])
    elif damage == "empty":
        last.write_bytes(b"")
    else:
        torch.save(
            {"progress": Attack(marker)}, last, _use_new_zipfile_serialization=damage == "pickle"
        )
    resumed(server, path)
    assert_same_run(path, undisturbed(SEARCH))
    assert not marker.exists()


class Attack:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


def test_no_checkpoint_can_be_read(tmp_path: Path, server: Server, half_done: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(half_done, path)
    first, second = checkpoints(path)
    first.write_bytes(first.read_bytes()[:-100])
    torch.save({"progress": Attack(tmp_path / "executed")}, second)
    child = server.run(["resume", str(path)])
    assert child.code == 1
    assert child.err.startswith("nasp: No checkpoint in")
    assert len(child.err.splitlines()) == 1
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"kind": "search", "job": {}}', "\udcff"])
def test_damaged_settings(tmp_path: Path, server: Server, content: str) -> None:
    path = tmp_path / "run"
    path.mkdir()
    (path / "config.json").write_bytes(content.encode(errors="surrogateescape"))
    child = server.run(["resume", str(path)])
    assert child.code in (1, 2)
    assert child.err.startswith("nasp: ")
    assert "config.json" in child.err
    assert "Traceback" not in child.err


def test_two_processes_on_one_run(tmp_path: Path, server: Server, undisturbed: Undisturbed) -> None:
    path = tmp_path / "run"
    first = server.start([*SEARCH, *EACH_STEP, "--out", str(path)])
    wait_until(lambda: latest(path) >= 1)
    os.kill(first.pid, signal.SIGSTOP)
    before = latest(path)
    second = server.run(["resume", str(path)])
    assert second.code == 2
    assert second.err == f"nasp: Another process is at work on {path}: wait for it.\n"
    assert latest(path) == before
    os.kill(first.pid, signal.SIGCONT)
    assert first.wait() == 0
    assert_same_run(path, undisturbed(SEARCH))


def test_a_full_disk(tmp_path: Path, server: Server, undisturbed: Undisturbed) -> None:
    path = tmp_path / "run"
    argv = [*SEARCH, *EACH_STEP, "--out", str(path)]
    failures = 0
    # Over all that one step and the next do to files; each time a little gets done.
    for n in (60, *range(10, 24)):
        child = server.run(argv, COUNT.format(n=n, then=FULL))
        argv = ["resume", str(path)]
        if child.code == 0:  # it was an unlink that failed, of a file that is gone anyway
            break
        failures += 1
        assert child.code == 1
        assert child.err.count("nasp: ") == 1
        assert "No space left on device" in child.err
        assert "Traceback" not in child.err
    assert failures >= 5
    resumed(server, path)
    assert_same_run(path, undisturbed(SEARCH))


def test_files_may_not_grow_so_long(
    tmp_path: Path, server: Server, undisturbed: Undisturbed, half_done: Path
) -> None:
    # A real failure in the midst of torch.save: no file of the process may pass 200 kB.
    path = tmp_path / "run"
    shutil.copytree(half_done, path)
    before = [file.read_bytes() for file in checkpoints(path)]
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))"
    child = server.run(["resume", str(path)], limit)
    assert child.code == 1
    assert child.err.splitlines()[-1].startswith(f"nasp: Cannot write {path}")
    assert "Traceback" not in child.err
    assert [file.read_bytes() for file in checkpoints(path)] == before
    resumed(server, path)
    assert_same_run(path, undisturbed(SEARCH))


PYTHON = """
import os, signal, sys, torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
import nasp, nasp.training.events
from nasp.bilevel.own import search
torch.manual_seed(1)
net = nn.Sequential(
    nn.Linear(4, 8),
    nasp.Choice({{"deep": nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.2)), "skip": nn.Identity()}}),
    nasp.Choice({{"wide": nn.Linear(8, 8), "tanh": nn.Tanh(), "none": nasp.Zero()}}),
    nn.Linear(8, 3),
)
def data(count):
    return TensorDataset(torch.randn(count, 4), torch.randint(3, (count,)))
train = DataLoader(data(40), batch_size=8, shuffle=True)
val = DataLoader(data(21), batch_size=8, shuffle=True, generator=torch.Generator().manual_seed(7))
left = [{steps}]
def watch(event):
    if isinstance(event, nasp.training.events.Stepped):
        left[0] -= 1
        if left[0] == 0:
            {then}
search(net, train, val, epochs=4, checkpoint_minutes={minutes}, run={run!r}, observe=watch,
       settings={{"lr": 0.05, "uniform": 0.5}})
"""


@pytest.mark.parametrize("then", [KILL, "os._exit(3)"])
def test_a_search_from_python_with_plain_loaders(tmp_path: Path, server: Server, then: str) -> None:
    reference, path = tmp_path / "whole", tmp_path / "run"
    script = {"then": then, "minutes": 1e-6}
    whole = server.run([], PYTHON.format(steps=0, run=str(reference), **script))
    assert whole.code == 0, whole.err
    for _ in range(5):
        child = server.run([], PYTHON.format(steps=4, run=str(path), **script))
        assert child.code in (-signal.SIGKILL, 3), child.err
    child = server.run([], PYTHON.format(steps=0, run=str(path), **script))
    assert child.code == 0, child.err
    assert_same_run(path, reference)
