"""Jobs: what is written down, and what a training holds beside the found network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from nasp.bilevel.settings import SearchConfig
from nasp.cli.search_report import search_summary
from nasp.complexity import parameter_count
from nasp.domains.images.baseline import residual_network
from nasp.domains.images.data import ImageConfig, ImageData
from nasp.domains.images.datasets import load_images
from nasp.domains.images.networks import sized
from nasp.domains.images.train import ImageTrainConfig
from nasp.errors import UsageError
from nasp.jobs import options
from nasp.jobs.job import Size, begin
from nasp.jobs.rivals import rival_of
from nasp.jobs.search import run_search_job
from nasp.jobs.search_job import SearchJob
from nasp.jobs.targets import job_of
from nasp.jobs.train import run_train_job
from nasp.jobs.train_job import TrainJob
from nasp.runs.folder import RunFolder, load_tensors
from nasp.spaces import NetworkConfig, find_space
from nasp.spaces.sampling import random_architecture
from nasp.training.events import Event, Stepped, Warned
from nasp.training.start import INIT

SPACE = find_space("nasbench201")
CELL = SPACE.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|none~2|")
DATA = ImageConfig(name="digits", subset=32, batch_size=16)


def train_job(**fields: Any) -> TrainJob:
    given: dict[str, Any] = {
        "data": DATA,
        "space": "nasbench201",
        "architecture": dict(CELL.edges),
        "channels": 4,
        "cells": 1,
        "train": ImageTrainConfig(epochs=1, auxiliary=0.0, drop_path=0.0),
        **fields,
    }
    return TrainJob(**given)


def search_job(**settings: Any) -> SearchJob:
    config = SearchConfig(**{"epochs": 1, **settings})
    return SearchJob(data=DATA, space="nasbench201", channels=4, cells=1, search=config)


@pytest.mark.parametrize("job", [search_job(), train_job(beside=("resnet",))])
def test_a_job_comes_back_from_its_folder(tmp_path: Path, job: SearchJob | TrainJob) -> None:
    run = begin(tmp_path / "run", job)
    assert job_of(RunFolder.open(run.path)) == job
    config = run.config()
    assert config["versions"].keys() == {"nasp", "torch", "python"}
    assert config["kind"] in ("search", "train")
    assert "git" in config


@pytest.mark.parametrize(
    ("started", "command"),
    [
        (["/opt/bin/nasp", "search", "--data", "my photos"], "nasp search --data 'my photos'"),
        (["/opt/lib/nasp/__main__.py", "show", "x"], "nasp show x"),
        (["/opt/bin/pytest", "-q"], None),
    ],
)
def test_a_run_says_which_command_began_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, started: list[str], command: str | None
) -> None:
    monkeypatch.setattr("sys.argv", started)
    assert begin(tmp_path / "run", search_job()).config()["command"] == command


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "python-search"}, r"was begun from Python, .*nasp\.search"),
        ({}, "not the settings of a search or a training"),
        ({"kind": "bake", "job": {}}, "not the settings"),
        ({"kind": "search", "job": 3}, "not the settings"),
        ({"kind": "search", "job": {"space": "darts"}}, r"Setting 'data' of .*config\.json"),
        (
            {"kind": "train", "job": {**train_job().model_dump(mode="json"), "x": 1}},
            "Setting 'x' of .*: there is no such setting",
        ),
    ],
)
def test_other_settings_are_no_job(tmp_path: Path, config: dict[str, Any], message: str) -> None:
    run = RunFolder.create(tmp_path, config)
    with pytest.raises(UsageError, match=message):
        job_of(run)


def test_random_architectures_differ_by_their_number() -> None:
    drawn = [random_architecture(SPACE, seed) for seed in range(20)]
    assert drawn[3] == random_architecture(SPACE, 3)
    assert len(set(drawn)) >= 19
    assert {name for one in drawn for name in one.edges.values()} == {
        *("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    }
    for name in ("darts", "nasp12"):
        space = find_space(name)
        config = NetworkConfig(channels=4, cells=3)
        assert parameter_count(space.network(random_architecture(space, 1), config)) > 0


def test_the_size_of_the_images_is_the_networks() -> None:
    images = ImageData(DATA, load_images("digits"))
    config = train_job(channels=6, cells=2, train=ImageTrainConfig()).size(images.shape)
    assert (config.in_channels, config.image_size, config.classes) == (1, 8, 10)
    assert (config.channels, config.cells, config.stem, config.drop_path) == (6, 2, "cifar", True)


def test_a_search_is_the_same_from_its_folder(tmp_path: Path) -> None:
    job = search_job()
    found = [run_search_job(job, begin(tmp_path / name, job)) for name in ("a", "b")]
    assert found[0].architecture == found[1].architecture
    assert found[0].architecture.space == "nasbench201"
    assert found[0].metrics == found[1].metrics
    other = search_job(seed=1)
    assert run_search_job(other, begin(tmp_path / "c", other)).metrics != found[0].metrics


def test_what_is_trained_beside(tmp_path: Path) -> None:
    job = train_job(beside=("random-2", "resnet"))
    run = begin(tmp_path / "run", job)
    results = run_train_job(job, run)
    assert [result.name for result in results] == ["found", "random-2", "resnet"]
    size = sized({**ImageData(DATA, load_images("digits")).shape, "channels": 4, "cells": 1})
    random_cell = random_architecture(SPACE, 2)
    assert [result.parameters for result in results] == [
        parameter_count(SPACE.network(CELL, size)),
        parameter_count(SPACE.network(random_cell, size)),
        parameter_count(residual_network(size, results[0].parameters)),
    ]
    inner = json.loads((run.path / "beside" / "random-2" / "config.json").read_text())
    assert inner["job"]["architecture"] == dict(random_cell.edges)
    assert inner["job"]["beside"] == []
    assert inner["job"]["train"] == job.train.model_dump(mode="json")
    for folder in (run.path, *(run.path / "beside").iterdir()):
        assert (folder / "weights.safetensors").is_file()
        assert (folder / "best.safetensors").is_file()


def test_random_rivals_keep_what_the_found_network_had_to_keep(tmp_path: Path) -> None:
    target = 2500.0
    job = search_job(target={"parameters": target}, select="none")
    job = job.model_copy(update={"bound_at": Size(channels=2, cells=1)})
    run = begin(tmp_path / "run", job)
    run_search_job(job, run)
    training = options.train_job(run, {}, {}, {}, ["random:3"])
    assert (training.channels, training.bounds.target) == (2, {"parameters": target})
    shape = load_shape()
    folder = begin(tmp_path / "train", training)
    drawn = set()
    for name in training.beside:
        rival = rival_of(training, name, 1, shape, folder)
        cost = parameter_count(rival.network(rival.size(shape)))
        assert abs(cost / target - 1) <= 0.05
        drawn.add(str(rival.architecture))
    assert len(drawn) > 1
    # At another size nothing is known of what they should cost.
    assert not options.train_job(run, {}, {"channels": 4}, {}, ["random:3"]).bounds.target


def load_shape() -> dict[str, Any]:
    return dict(ImageData(DATA, load_images("digits")).shape)


def test_a_summary_speaks_of_the_result_and_not_of_what_was_repaired(tmp_path: Path) -> None:
    job = search_job(target={"parameters": 2976.0}, within=0.01)
    job = job.model_copy(update={"bound_at": Size(channels=2, cells=1)})
    run = begin(tmp_path / "run", job)
    found = run_search_job(job, run).architecture
    held = [name for name in found.edges.values() if name is not None]
    free = sum("conv" not in name for name in held) / len(held)
    summary = search_summary(run, found)
    assert summary["health"]["parameterless"] == pytest.approx(free)
    assert summary["decided_by"] == "search"


def test_what_is_finished_is_not_trained_again(tmp_path: Path) -> None:
    job = train_job(beside=("random-1",))
    run = begin(tmp_path / "run", job)
    first = run_train_job(job, run)
    events: list[Event] = []
    again = run_train_job(job, RunFolder.open(run.path), events.append)
    assert not any(isinstance(event, Stepped) for event in events)
    assert [r.trained.metrics for r in again] == [r.trained.metrics for r in first]
    assert [r.parameters for r in again] == [r.parameters for r in first]


def test_a_rival_trains_as_it_would_alone(tmp_path: Path) -> None:
    job = train_job(beside=("random-1",))
    beside = run_train_job(job, begin(tmp_path / "a", job))[1]
    alone_job = train_job(architecture=dict(random_architecture(SPACE, 1).edges))
    alone = run_train_job(alone_job, begin(tmp_path / "b", alone_job))[0]
    assert beside.trained.metrics == alone.trained.metrics


def test_an_unknown_rival(tmp_path: Path) -> None:
    job = train_job(beside=("vgg",))
    with pytest.raises(UsageError, match="Unknown rival 'vgg'"):
        run_train_job(job, begin(tmp_path / "run", job))


def test_a_run_in_use(tmp_path: Path) -> None:
    for number, job in enumerate((search_job(), train_job())):
        run = begin(tmp_path / str(number), job)
        with run.lock(), pytest.raises(UsageError, match="Another process is at work"):
            run_search_job(job, run) if isinstance(job, SearchJob) else run_train_job(job, run)


def test_a_training_starts_from_what_a_search_left_its_candidates(tmp_path: Path) -> None:
    searched = begin(tmp_path / "search", job := search_job())
    run_search_job(job, searched)
    supernet = load_tensors(searched.path / "weights.safetensors")
    recipe = ImageTrainConfig(epochs=1, auxiliary=0.0, drop_path=0.0, init=searched.path)
    events: list[Event] = []
    training = train_job(train=recipe, beside=("random-1", "resnet"))
    run = begin(tmp_path / "train", training)
    run_train_job(training, run, events.append)
    start = load_tensors(run.path / INIT)
    chosen = "cells.0.edges.0.candidates.nor_conv_3x3."
    taken = {name: weight for name, weight in supernet.items() if name.startswith(chosen)}
    assert taken
    for name, weight in taken.items():
        short = name.replace("candidates.nor_conv_3x3.", "")
        assert torch.equal(start[short], weight)
    assert (run.path / "beside/random-1" / INIT).is_file()
    assert not (run.path / "beside/resnet" / INIT).exists()
    messages = [event.message for event in events if isinstance(event, Warned)]
    assert any("start as they were drawn (cells.0.edges" in message for message in messages)
