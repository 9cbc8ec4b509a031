"""From a run folder or an architecture back to its network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from nasp.domains import DOMAINS, find_domain
from nasp.errors import NaspError, UsageError
from nasp.jobs.job import begin
from nasp.jobs.options import search_job, train_job
from nasp.jobs.rebuild import rebuild
from nasp.jobs.search import run_search_job
from nasp.jobs.search_job import SearchJob
from nasp.jobs.train import run_train_job
from nasp.runs.folder import RunFolder
from nasp.spaces import NetworkConfig, find_space
from nasp.supernet.architecture import Architecture
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet
from nasp.training.events import Event, Warned, nobody

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
ARCHITECTURE = find_space("nasbench201").parse(CELL)
DATA = {"name": "digits", "subset": 32, "batch_size": 16}
SIZE = {"channels": 4, "cells": 1}


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a finished search."""
    job = search_job(DATA, None, SIZE, {"epochs": 1}, {})
    run = begin(tmp_path_factory.mktemp("searched") / "run", job)
    run_search_job(job, run)
    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a finished training with drop-path, and a hand-made network beside it."""
    job = train_job(
        ARCHITECTURE, DATA, SIZE, {"epochs": 2, "drop_path": 0.2, "lr": 0.1}, ["resnet"]
    )
    run = begin(tmp_path_factory.mktemp("trained") / "run", job)
    run_train_job(job, run)
    return run


def equal(network: nn.Module, weights: dict[str, torch.Tensor]) -> bool:
    state = network.state_dict()
    return state.keys() == weights.keys() and all(torch.equal(state[k], weights[k]) for k in state)


def test_an_architecture_has_fresh_weights() -> None:
    first = rebuild(ARCHITECTURE, size=SIZE)
    assert (first.weights, first.run) == ("fresh", None)
    assert CELL in first.about
    assert first.example[0].shape == (2, 3, 32, 32)
    assert first.network.eval()(first.example[0]).shape == (2, 10)
    state = torch.get_rng_state()
    again, other = rebuild(ARCHITECTURE, size=SIZE), rebuild(ARCHITECTURE, size=SIZE, seed=1)
    assert equal(again.network, first.network.state_dict())
    assert not equal(other.network, first.network.state_dict())
    assert torch.equal(torch.get_rng_state(), state)


def test_large_images_get_imagenets_stem() -> None:
    large = {**SIZE, "image_size": 128, "classes": 3, "in_channels": 1}
    network = rebuild(ARCHITECTURE, size=large).network
    assert len(network.get_submodule("stem")) == 2  # type: ignore[arg-type]


def test_a_search_has_its_own_weights(searched: RunFolder) -> None:
    found = rebuild(searched)
    assert (found.weights, found.run) == ("inherit", searched.path)
    architecture = Architecture.load(searched.architecture_path)
    config = NetworkConfig(in_channels=1, image_size=8, channels=4, cells=1)
    supernet = Supernet(find_space("nasbench201").supernet(config), "nasbench201")
    supernet.network.load_state_dict(load_file(searched.path / "weights.safetensors"))
    expected = derive(supernet, architecture).train()
    x = found.example[0]
    assert x.shape == (2, 1, 8, 8)
    assert all(map(torch.equal, found.network.parameters(), expected.parameters()))
    assert not torch.equal(found.network.eval()(x), expected.eval()(x))
    # BatchNorm's statistics are those of a pass over the weights' half of the run's images.
    norms = [module for module in expected.train().modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
    job = SearchJob.model_validate(searched.config()["job"])
    loaders = job.domain.read(job.data, nobody).search_loaders(None, torch.device("cpu"), 0)
    with torch.no_grad():
        for images, _ in loaders.weights:
            expected(images)
    torch.testing.assert_close(found.network.eval()(x), expected.eval()(x))
    assert equal(rebuild(searched).network, found.network.state_dict())


def test_a_search_whose_data_are_gone_is_rebuilt_with_a_warning(
    searched: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_: Any) -> None:
        raise UsageError("There are no images.")

    domain = find_domain("images")
    monkeypatch.setitem(DOMAINS, "images", replace(domain, read=gone))
    told: list[Event] = []
    found = rebuild(searched, observe=told.append)
    kept = load_file(searched.path / "weights.safetensors")
    stem = "stem.1.running_mean"
    assert torch.equal(found.network.state_dict()[stem], kept[stem])
    (warned,) = told
    assert isinstance(warned, Warned)
    assert "they need the run's data: There are no images." in warned.message


def test_a_search_that_was_trained_stands_for_the_training(
    searched: RunFolder, trained: RunFolder, tmp_path: Path
) -> None:
    path = tmp_path / "run"
    path.symlink_to(searched.path)
    with pytest.raises(UsageError, match=rf"is not trained: run 'nasp train {path}'"):
        rebuild(RunFolder.open(path), "last")
    (searched.path / "train").symlink_to(trained.path)
    try:
        found = rebuild(RunFolder.open(path))
        assert (found.weights, found.run) == ("best", path / "train")
        assert rebuild(RunFolder.open(path), "inherit").run == path
    finally:
        (searched.path / "train").unlink()


@pytest.mark.parametrize(("weights", "file"), [("best", "best"), ("last", "weights")])
def test_a_training_has_those_of_its_epochs(trained: RunFolder, weights: str, file: str) -> None:
    found = rebuild(trained, weights)
    assert found.weights == weights
    assert equal(found.network, load_file(trained.path / f"{file}.safetensors"))
    if weights == "best":
        assert equal(rebuild(trained).network, found.network.state_dict())


def test_a_hand_made_network(trained: RunFolder) -> None:
    beside = RunFolder.open(trained.path / "beside" / "resnet")
    found = rebuild(beside)
    assert equal(found.network, load_file(beside.path / "best.safetensors"))
    assert "hand-made" in found.about


def test_fresh_weights_of_a_run_may_have_another_size(
    searched: RunFolder, trained: RunFolder
) -> None:
    for run in (searched, trained):
        found = rebuild(run, "fresh", {"channels": 8})
        assert found.example[0].shape == (2, 1, 8, 8)
        assert found.network.get_submodule("classifier.2").in_features == 32
        with pytest.raises(UsageError, match="leave out --channels, or say --weights fresh"):
            rebuild(run, None, {"channels": 8})


def test_weights_that_there_are_not(searched: RunFolder, trained: RunFolder) -> None:
    with pytest.raises(UsageError, match=r"Unknown weights 'bst': .* Did you mean 'best'"):
        rebuild(trained, "bst")
    with pytest.raises(UsageError, match="An architecture has no best weights"):
        rebuild(ARCHITECTURE, "best")
    with pytest.raises(UsageError, match="is a training: its weights are best, last or fresh"):
        rebuild(trained, "inherit")
    with pytest.raises(UsageError, match=r"not trained: run 'nasp train .*', or say --weights inh"):
        rebuild(searched, "best")
    with pytest.raises(UsageError, match="of a network of your own, which Python alone knows"):
        rebuild(Architecture({"0": "conv"}))


def test_runs_that_are_not_finished(
    searched: RunFolder, trained: RunFolder, tmp_path: Path
) -> None:
    for run in (searched, trained):
        part = RunFolder.create(tmp_path / run.path.parent.name, run.config())
        with pytest.raises(UsageError, match=rf"nasp resume {part.path}"):
            rebuild(part)


def test_weights_that_do_not_fit(trained: RunFolder, tmp_path: Path) -> None:
    config: Any = trained.config()
    config["job"]["channels"] = 8
    other = RunFolder.create(tmp_path / "run", config)
    (other.path / "best.safetensors").write_bytes((trained.path / "best.safetensors").read_bytes())
    with pytest.raises(NaspError, match="do not fit the network that its run describes"):
        rebuild(other)
    (other.path / "best.safetensors").write_bytes(b"x")
    with pytest.raises(NaspError, match="Cannot read the weights in"):
        rebuild(other)
    assert json.loads(other.config_path.read_text()) == config


def test_an_architecture_alone_has_the_size_of_a_search_in_its_space() -> None:
    found = rebuild(find_space("mobile").parse("|".join(["e3_k3,skip,skip"] * 5)))
    stages = found.network.get_submodule("stages").children()
    assert [len(list(stage.children())) for stage in stages] == [3] * 5
    assert found.network.get_submodule("classifier.2").in_features == 6 * 96
