"""Starting from a file's weights: what fits is taken, the rest named; a resume needs no file."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import nasp
from nasp.errors import NaspError, UsageError
from nasp.runs.folder import RunFolder, load_tensors, save_tensors
from nasp.training.events import Event, Started, Stepped, Warned
from nasp.training.start import INIT, start_from, weights_file

BATCHES = [(torch.randn(8, 5), torch.randint(3, (8,))) for _ in range(3)]


def network(classes: int = 3) -> nn.Module:
    torch.manual_seed(0)
    choice = nasp.Choice({"linear": nn.Linear(5, 5), "tanh": nn.Tanh()})
    return nn.Sequential(nn.Linear(5, 5), choice, nn.BatchNorm1d(5), nn.Linear(5, classes))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Weights of a larger network with another head and half the precision."""
    other = network(classes=4).half()
    torch.manual_seed(1)
    for weight in other.parameters():
        weight.data.normal_()
    tensors = {**other.state_dict(), "head.scale": torch.ones(2), "head.bias": torch.ones(2)}
    save_tensors(tmp_path / "backbone.safetensors", tensors)
    return tmp_path / "backbone.safetensors"


def test_what_fits_by_name_and_shape_is_taken_and_the_rest_is_named(file: Path) -> None:
    given, fresh, net, events = load_tensors(file), network(), network(), list[Event]()
    start_from(net, file, None, events.append)
    for name, weight in net.state_dict().items():
        expected = fresh.state_dict()[name] if name.startswith("3.") else given[name]
        assert torch.equal(weight, expected.to(weight.dtype)), name
        assert weight.dtype == fresh.state_dict()[name].dtype
    assert [event.message for event in events if isinstance(event, Warned)] == [
        f"9 of 11 tensors are from {file}; 2 have another shape there (3.bias [4] for [3],"
        " 3.weight [4, 5] for [3, 5]); 2 of the file's are not in the network (head.bias,"
        " head.scale)."
    ]
    save_tensors(file, fresh.state_dict())
    start_from(net, file, None, pytest.fail)  # nothing to say where all fits
    some = {"0.weight": torch.ones(5, 5)}
    save_tensors(file, some)
    start_from(net, file, None, events.append)
    assert isinstance(last := events[-1], Warned)
    assert "10 start as they were drawn (0.bias, 1.candidates.linear.weight, " in last.message


def test_what_cannot_be_read_or_fits_nowhere_is_one_sentence(tmp_path: Path, file: Path) -> None:
    class Harm:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "harm",)

    (tmp_path / "weights.pt").write_bytes(pickle.dumps(Harm()))
    (tmp_path / "weights.safetensors.d").mkdir()
    (tmp_path / "broken.safetensors").write_bytes(pickle.dumps(Harm()))
    for name, message in {
        "weights.pt": "is no .safetensors file, and reading another may run what is hidden",
        "missing.safetensors": "is no file or folder",
        "weights.safetensors.d": "has no weights: give the folder of a finished run",
    }.items():
        with pytest.raises(UsageError, match=message):
            start_from(network(), tmp_path / name, None, pytest.fail)
    with pytest.raises(NaspError, match="Cannot read the weights in"):
        start_from(network(), tmp_path / "broken.safetensors", None, pytest.fail)
    assert not (tmp_path / "harm").exists()
    save_tensors(file, {"backbone.0.weight": torch.ones(5, 5)})
    run = tmp_path / "run"
    with pytest.raises(UsageError, match=r"Nothing in .* fits the network.*backbone\.0\.weight"):
        nasp.search(network(), BATCHES, BATCHES, epochs=1, init=file, run=run)
    assert not run.exists()


@pytest.mark.parametrize("call", [nasp.search, nasp.train])
def test_a_stopped_run_needs_the_file_no_more(call: Any, tmp_path: Path, file: Path) -> None:
    """Also where it was stopped before its first checkpoint."""

    def observe(event: Event) -> None:
        if isinstance(event, Started) and stops[0] == "at once":
            raise ZeroDivisionError
        if isinstance(event, Stepped) and (event.epoch, event.step) == stops[0]:
            raise ZeroDivisionError

    def run(name: str, **more: Any) -> Any:
        return call(network(), BATCHES, BATCHES, epochs=3, init=file, run=tmp_path / name, **more)

    with pytest.warns(UserWarning, match="9 of 11 tensors are from"):
        run("whole")
    stops: list[Any] = ["at once"]
    with pytest.raises(ZeroDivisionError):
        run("stopped", observe=observe)
    file.unlink()
    stops = [(2, 2)]
    with pytest.raises(ZeroDivisionError):
        run("stopped", observe=observe)
    run("stopped")
    for name in ("weights.safetensors", "metrics.jsonl", INIT):
        whole, stopped = (tmp_path / each / name for each in ("whole", "stopped"))
        assert whole.read_bytes() == stopped.read_bytes()
    settings = RunFolder.open(tmp_path / "whole").config()[call.__name__]
    assert settings["init"] == str(file)
    assert weights_file(tmp_path / "whole").suffix == ".safetensors"
