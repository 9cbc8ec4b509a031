"""The run folder, and checkpoints that survive what happens to them."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import time
from collections import Counter, OrderedDict, UserDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nasp.errors import NaspError, UsageError
from nasp.runs.checkpoints import Checkpointer, _load_checkpoint
from nasp.runs.folder import RunFolder, load_tensors, save_tensors
from tests.forks import Server


class Part:
    """A part of a run: one tensor."""

    def __init__(self, value: float) -> None:
        self.value = torch.tensor([value])

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = state["value"]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", {"b": 1, "a": [2]})


def saved(run: RunFolder, steps: int) -> None:
    for step in range(1, steps + 1):
        run.append_metrics({"epoch": step})
        run.append_timing({"epoch": step, "seconds": 0.1})
        Checkpointer(run, {"part": Part(step)}, 5).save(step, {"epoch": step})


def restored(run: RunFolder) -> tuple[dict[str, Any] | None, float]:
    part = Part(-1)
    progress = Checkpointer(run, {"part": part}, 5).restore()
    return progress, part.value.item()


def files(run: RunFolder) -> list[str]:
    return sorted(path.name for path in (run.path / "checkpoints").iterdir())


def test_create_and_open(run: RunFolder) -> None:
    assert run.config() == RunFolder.open(run.path).config() == {"a": [2], "b": 1}
    assert run.metrics() == run.timing() == []
    with pytest.raises(UsageError, match=f"nasp resume {run.path}"):
        RunFolder.create(run.path, {})
    with pytest.raises(UsageError, match="not a run folder"):
        RunFolder.open(run.path.parent)


def test_an_empty_folder_will_do_and_so_will_what_a_kill_left(tmp_path: Path) -> None:
    (tmp_path / ".config.json.123.tmp").write_text("{")
    RunFolder.create(tmp_path, {})
    assert RunFolder.open(tmp_path).config() == {}


@pytest.mark.parametrize("name", ["mine.txt", ".hidden", "config.json.tmp"])
def test_a_folder_with_files_of_others_is_not_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("")
    with pytest.raises(UsageError, match="is not empty"):
        RunFolder.create(tmp_path, {})


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is not empty"):
        RunFolder.create(tmp_path / "file", {})


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff"])
def test_damaged_settings(run: RunFolder, content: bytes) -> None:
    run.config_path.write_bytes(content)
    with pytest.raises(NaspError, match=r"config\.json is damaged"):
        run.config()


def test_half_a_line_of_metrics_is_not_read(run: RunFolder) -> None:
    run.append_metrics({"epoch": 1, "loss": 0.5})
    with run.metrics_path.open("a") as stream:
        stream.write('{"epoch": 2, "lo')
    assert run.metrics() == [{"epoch": 1, "loss": 0.5}]


def test_the_latest_two_checkpoints_stay(run: RunFolder) -> None:
    assert restored(run) == (None, -1)
    saved(run, 12)
    assert files(run) == ["step-000000011.pt", "step-000000012.pt"]
    assert restored(run) == ({"epoch": 12}, 12)


def test_steps_of_ten_digits_sort_by_number(run: RunFolder) -> None:
    for step in (999_999_999, 1_000_000_000):
        Checkpointer(run, {"part": Part(step % 7)}, 5).save(step, {"step": step})
    assert restored(run) == ({"step": 1_000_000_000}, 1_000_000_000 % 7)


def test_metrics_are_cut_back_to_the_checkpoint(run: RunFolder) -> None:
    saved(run, 3)
    expected = run.metrics_path.read_bytes(), run.timing_path.read_bytes()
    run.append_metrics({"epoch": 4})
    run.append_timing({"epoch": 4})
    with run.metrics_path.open("a") as stream:
        stream.write('{"epo')
    restored(run)
    assert (run.metrics_path.read_bytes(), run.timing_path.read_bytes()) == expected


def test_without_a_checkpoint_metrics_begin_anew(run: RunFolder) -> None:
    run.append_metrics({"epoch": 1})
    assert restored(run) == (None, -1)
    assert run.metrics_path.read_bytes() == b""


def test_what_a_killed_process_left_is_cleared_away(run: RunFolder) -> None:
    saved(run, 2)
    (run.path / "checkpoints" / ".step-000000003.pt.77.tmp").write_bytes(b"half")
    restored(run)
    assert files(run) == ["step-000000001.pt", "step-000000002.pt"]


def test_the_random_state_comes_back(run: RunFolder) -> None:
    saved(run, 1)
    expected = torch.rand(3)
    torch.manual_seed(8)
    restored(run)
    assert torch.equal(torch.rand(3), expected)


def test_any_damage_is_seen(run: RunFolder) -> None:
    saved(run, 2)
    before, last = sorted((run.path / "checkpoints").iterdir())
    data = last.read_bytes()
    draw = random.Random(0)
    outcomes = set()
    # Every byte of the zip file's directory at its end, and some of the rest.
    places = [*range(len(data) - 700, len(data), 2), *draw.sample(range(len(data)), 100)]
    for place in places:
        flipped = data[place] ^ (1 << draw.randrange(8))
        last.write_bytes(data[:place] + bytes([flipped]) + data[place + 1 :])
        outcomes.add(restored(run)[1])
    assert outcomes == {1, 2}  # 2 where the bit is in the padding
    for size in (0, 1, 100, len(data) // 2, len(data) - 1):
        last.write_bytes(data[:size])
        assert restored(run) == ({"epoch": 1}, 1)
    before.write_bytes(b"")
    with pytest.raises(NaspError, match=r"No checkpoint in .* can be read"):
        restored(run)


class Attack:
    """Makes a folder when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.mark.parametrize("is_zip", [True, False])
def test_a_checkpoint_runs_no_code(tmp_path: Path, is_zip: bool) -> None:
    marker, path = tmp_path / "marker", tmp_path / "attack.pt"
    torch.save({"parts": Attack(marker)}, path, _use_new_zipfile_serialization=is_zip)
    assert _load_checkpoint(path) is None
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists()  # it would have


@pytest.mark.parametrize("call", ["fsync", "replace", "write"])
def test_a_full_disk_leaves_the_checkpoint_before(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    saved(run, 2)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    targets = {"fsync": (os, "fsync"), "replace": (Path, "replace"), "write": (torch, "save")}
    with monkeypatch.context() as patch:
        # The metrics' own fsync comes first and is not what is meant.
        patch.setattr("nasp.runs.checkpoints._synced_size", lambda path: path.stat().st_size)
        patch.setattr(*targets[call], full)
        with pytest.raises(NaspError, match="No space left on device"):
            Checkpointer(run, {"part": Part(3)}, 5).save(3, {"epoch": 3})
    assert files(run) == ["step-000000001.pt", "step-000000002.pt"]
    assert restored(run) == ({"epoch": 2}, 2)


def test_a_full_disk_while_metrics_are_written(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(NaspError, match=r"Cannot write .*metrics\.jsonl: No space left on device"):
        run.append_metrics({"epoch": 1})


def test_due_goes_by_the_clock(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    checkpointer = Checkpointer(run, {}, minutes=2)
    nothing = Checkpointer(None, {}, minutes=2)
    now += 119.9
    assert not checkpointer.due()
    now += 0.2
    assert checkpointer.due()
    assert not nothing.due()
    checkpointer.save(1, {})
    assert not checkpointer.due()


def test_no_run_saves_and_restores_nothing() -> None:
    checkpointer = Checkpointer(None, {"part": Part(1)}, 5)
    checkpointer.save(1, {})
    assert checkpointer.restore() is None


def test_a_run_is_locked_for_others_only_while_it_is_used(run: RunFolder) -> None:
    with run.lock(), pytest.raises(UsageError, match="Another process is at work"), run.lock():
        pass
    with run.lock():
        pass


HOLDER = """
import time
from pathlib import Path
from nasp.runs.folder import RunFolder

with RunFolder(Path({path!r})).lock():
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_has_the_lock_until_it_is_killed(run: RunFolder, server: Server) -> None:
    process = server.start((), HOLDER.format(path=str(run.path)))
    while process.out != "held\n":
        assert not process.err
        time.sleep(0.01)
    sentence = f"Another process is at work on {run.path}: wait for it."
    with pytest.raises(UsageError, match=f"^{re.escape(sentence)}$"), run.lock():
        pass
    process.kill()
    assert (run.path / ".lock").exists()
    with run.lock():
        pass


def test_tensors_round_trip(tmp_path: Path) -> None:
    weight = torch.randn(3, 4)
    tensors = {"a": weight, "tied": weight, "strided": torch.randn(5, 2).T, "n": torch.tensor(3)}
    save_tensors(tmp_path / "t", tensors)
    loaded = load_tensors(tmp_path / "t")
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())
    (tmp_path / "t").write_bytes(json.dumps({}).encode())
    for name in ("t", "missing"):
        with pytest.raises(NaspError, match="Cannot read the weights"):
            load_tensors(tmp_path / name)


@pytest.mark.parametrize(
    "state", [np.int64(3), {"a": [Path("x")]}, (1, UserDict(a=1)), {3: object()}]
)
def test_what_could_not_be_read_again_is_refused_before_it_is_written(
    run: RunFolder, state: Any
) -> None:
    class Foreign(Part):
        def state_dict(self) -> Any:
            return state

    checkpointer = Checkpointer(run, {"part": Part(1), "weight_batches": Foreign(0)}, 5)
    with pytest.raises(UsageError, match=r"cannot hold the state of 'weight_batches': it has a "):
        checkpointer.restore()
    with pytest.raises(UsageError, match=r"cannot hold"):
        checkpointer.save(1, {})
    assert not (run.path / "checkpoints").exists()


@pytest.mark.parametrize(
    "state",
    [
        {"a": [1, 2.0, None, True, "x", b"x"], "b": (torch.ones(2), {"c": OrderedDict(d=1)})},
        Counter([1, 1, 2]),
        (torch.Size([2]), torch.float32, 10**30, (1,) * 9),
    ],
)
def test_plain_states_come_back(run: RunFolder, state: Any) -> None:
    class Plain(Part):
        def state_dict(self) -> Any:
            return state

        def load_state_dict(self, state: Any) -> None:
            self.value = state

    Checkpointer(run, {"part": Plain(0)}, 5).save(1, {})
    part = Plain(0)
    Checkpointer(run, {"part": part}, 5).restore()
    assert repr(part.value) == repr(state)
