"""From options to jobs: the defaults, and what was given on top."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nasp.bilevel.settings import SearchConfig
from nasp.cli.search import asked_search
from nasp.domains.images.data import ImageConfig
from nasp.errors import NaspError, UsageError
from nasp.jobs.job import Size, begin
from nasp.jobs.options import search_job, train_job
from nasp.jobs.presets import of_size, preset_settings
from nasp.jobs.search_job import SearchJob
from nasp.jobs.targets import found_architecture, target_of
from nasp.runs.folder import RunFolder
from nasp.spaces import find_space
from nasp.strategies import STRATEGIES, NASPConfig
from nasp.supernet.architecture import Architecture

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"


def planned(**options: Any) -> SearchJob:
    given: dict[str, Any] = {
        "data": {"name": "digits"},
        "space": None,
        "size": {},
        "search": {},
        "settings": {},
        **options,
    }
    return search_job(**given)


def test_defaults_go_by_the_data() -> None:
    digits = planned()
    assert (digits.space, digits.channels, digits.cells) == ("nasbench201", 8, 1)
    assert (digits.search.epochs, digits.data.batch_size) == (60, 32)
    assert digits.search.settings == {}
    cifar = planned(data={"name": "cifar10"})
    assert (cifar.space, cifar.channels, cifar.cells) == ("darts", 16, 8)
    assert (cifar.search.epochs, cifar.data.batch_size) == (50, 64)
    assert cifar.search.settings == {}
    assert [
        (s.epochs, s.first_rung) for s in (digits.search.selection, cifar.search.selection)
    ] == [
        (48, 4),
        (12, 1),
    ]
    assert planned(space="darts").cells == 3
    rungs = [
        planned(selection=given).search.selection.first_rung
        for given in ({"epochs": 2}, {"epochs": 6}, {"epochs": 9, "first_rung": 2})
    ]
    assert rungs == [1, 3, 2]


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        ({}, 4000),
        ({"lr": 0.1}, 4000),
        ({"least_steps": 7}, 7),
        ({"epochs": 3}, 0),
        ({"minutes": 2.0}, 0),
        ({"epoch_steps": 4}, 0),
        ({"epochs": 3, "least_steps": 7}, 7),
    ],
)
def test_a_search_of_images_is_long_enough_unless_the_user_says_how_long_it_is(
    given: dict[str, Any], steps: int
) -> None:
    assert (
        planned(data={"name": "folder:photos"}, space="darts", search=given).search.least_steps
        == steps
    )
    assert (
        planned(search={n: v for n, v in given.items() if n != "least_steps"}).search.least_steps
        == 0
    )


@pytest.mark.parametrize(
    "strategy", [n for n, known in STRATEGIES.items() if "lr" in known.config.model_fields]
)
def test_a_rivals_alphas_step_as_far_as_nasps_and_its_supernet_is_its_own(strategy: str) -> None:
    digits = planned(search={"strategy": strategy})
    assert digits.search.settings == {}
    assert digits.supernet.partial_channels == (4 if strategy == "pc-darts" else 1)
    text = planned(data={"name": "text:books"}, search={"strategy": strategy}).search.settings
    assert text == {"lr": 3e-3} | ({"weight_steps": 1} if strategy == "nasp" else {})
    own = planned(size={"partial_channels": 2}, search={"strategy": strategy}, settings={"lr": 1.0})
    assert (own.supernet.partial_channels, own.search.settings["lr"]) == (2, 1.0)


def test_what_was_given_wins() -> None:
    job = planned(
        data={"name": "digits", "batch_size": 5, "subset": 50},
        space="darts",
        size={"channels": 2, "cells": 4},
        search={"epochs": 1, "seed": 7},
        settings={"lr": 0.5},
        pairs=["uniform=0.25", "optimizer=sgd", "lr=0.125"],
    )
    assert (job.data.batch_size, job.data.subset) == (5, 50)
    assert (job.space, job.channels, job.cells) == ("darts", 2, 4)
    assert (job.search.epochs, job.search.seed) == (1, 7)
    assert job.search.settings == {"lr": 0.125, "uniform": 0.25, "optimizer": "sgd"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"space": "moon"}, "Unknown .*space 'moon'"),
        ({"search": {"strategy": "magic"}}, "Unknown strategy 'magic'"),
        ({"settings": {"eta": 1}}, "Setting 'eta' of strategy 'nasp': there is no such setting"),
        ({"settings": {"lr": -1}}, "Setting 'lr' of strategy 'nasp'"),
        ({"pairs": ["lr"]}, "--set takes NAME=VALUE, not 'lr'"),
        ({"pairs": ["=1"]}, "--set takes NAME=VALUE"),
        ({"pairs": ["lr=fast"]}, "Setting 'lr' of strategy 'nasp'"),
        ({"search": {"lr": 0.0}}, "Setting 'lr' of the search"),
        ({"search": {"device": "abacus"}}, "Setting 'device' of the search"),
        ({"size": {"cells": 0}}, "Setting 'cells' of the search"),
        ({"data": {"name": "digits", "cutout": -1}}, "Setting 'cutout' of the data"),
    ],
)
def test_what_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        planned(**options)


def test_targets(tmp_path: Path) -> None:
    found = find_space("nasbench201").parse(CELL)
    found.save(tmp_path / "architecture.json")
    assert target_of(str(tmp_path / "architecture.json")) == found
    assert target_of(CELL) == found
    run = begin(tmp_path / "run", planned())
    target = target_of(str(run.path))
    assert isinstance(target, RunFolder)
    assert target.path == run.path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere", "There is no run folder, file or architecture 'nowhere'"),
        ("|x~0|", "is no architecture of any space"),
        ("Genotype(normal=[])", "is no architecture of any space"),
        ("a" * 5000, "There is no run folder"),
        ("(" * 5000, "is no architecture of any space"),
        ("nul\0", "There is no run folder"),
    ],
)
def test_no_targets(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        target_of(text)


def test_damaged_targets(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="not a run folder"):
        target_of(str(tmp_path / "empty"))
    (tmp_path / "bad.json").write_text("{}")
    with pytest.raises(NaspError, match="is not an architecture"):
        target_of(str(tmp_path / "bad.json"))


def test_a_run_hands_on_its_data_and_seed(tmp_path: Path) -> None:
    data = {"name": "digits", "subset": 50, "workers": 1, "batch_size": 8, "cutout": 3}
    run = begin(tmp_path / "run", planned(data=data, search={"seed": 9}))
    find_space("nasbench201").parse(CELL).save(run.architecture_path)
    job = train_job(run, {}, {}, {})
    assert (job.data.name, job.data.workers, job.train.seed) == ("digits", 1, 9)
    # A training uses all images, by its own recipe.
    assert (job.data.subset, job.data.batch_size, job.data.cutout) == (None, 32, 0)
    assert job.architecture == dict(find_space("nasbench201").parse(CELL).edges)
    other = train_job(run, {"subset": 60}, {"channels": 3}, {"seed": 1, "epochs": 2})
    assert (other.data.subset, other.channels, other.train.seed, other.train.epochs) == (
        60,
        3,
        1,
        2,
    )


def test_an_unfinished_run_has_nothing_to_train(tmp_path: Path) -> None:
    run = begin(tmp_path / "run", planned())
    with pytest.raises(UsageError, match=f"not finished: go on with 'nasp resume {run.path}'"):
        train_job(run, {}, {}, {})
    with pytest.raises(UsageError, match="not finished"):
        found_architecture(run)


def test_the_papers_recipe_for_an_architecture() -> None:
    found = find_space("darts").parse(
        "Genotype(normal=["
        + ", ".join(["('sep_conv_3x3', 0)", "('skip_connect', 1)"] * 4)
        + "], normal_concat=[2, 3, 4, 5], reduce=["
        + ", ".join(["('max_pool_3x3', 0)", "('skip_connect', 1)"] * 4)
        + "], reduce_concat=[2, 3, 4, 5])"
    )
    job = train_job(found, {"name": "cifar10"}, {}, {})
    assert (job.channels, job.cells, job.train.epochs, job.data.batch_size) == (36, 20, 600, 96)
    assert (job.train.auxiliary, job.train.drop_path, job.data.cutout) == (0.4, 0.2, 16)
    assert (job.train.lr, job.train.weight_decay, job.train.clip) == (0.025, 3e-4, 5.0)
    small = train_job(target_of(CELL), {"name": "cifar10"}, {}, {})  # type: ignore[arg-type]
    assert (small.channels, small.cells, small.train.epochs) == (16, 5, 200)
    assert (small.train.lr, small.data.batch_size) == (0.1, 256)


def test_an_architecture_needs_data_and_a_space() -> None:
    found = find_space("nasbench201").parse(CELL)
    with pytest.raises(UsageError, match="--data NAME"):
        train_job(found, {}, {}, {})
    with pytest.raises(UsageError, match="space"):
        train_job(Architecture({"1": "a"}), {"name": "digits"}, {}, {})


def test_rivals() -> None:
    found = find_space("nasbench201").parse(CELL)
    data = {"name": "digits"}
    job = train_job(found, data, {}, {}, ["random:3", "resnet", "random-7"])
    assert job.beside == ("random-1", "random-2", "random-3", "resnet", "random-7")
    for name in ("random", "random:x", "random-", "vgg", "random:-1"):
        with pytest.raises(UsageError, match="Unknown --beside"):
            train_job(found, data, {}, {}, [name])


def test_jobs_are_plain_json() -> None:
    job = planned(data={"name": "digits", "root": Path("/x")})
    assert SearchJob.model_validate_json(job.model_dump_json()) == job
    assert ImageConfig(name="digits").model_dump(mode="json")["root"] is None
    assert SearchConfig().strategy == "nasp"


def test_the_papers_preset() -> None:
    config = NASPConfig(**preset_settings("paper", "nasp"))
    assert (config.uniform, config.average, config.lr) == (0.0, 0.0, 3e-4)
    with pytest.raises(UsageError, match=r"Unknown preset 'papr'.*paper"):
        preset_settings("papr", "nasp")
    with pytest.raises(UsageError, match="no settings for strategy 'darts'"):
        preset_settings("paper", "darts")


def test_what_is_found_is_trained_at_the_size_of_its_bounds(tmp_path: Path) -> None:
    job = planned(search={"at_most": ["params=1M"]}, bound_at="channels=24")
    run = begin(tmp_path / "run", job)
    find_space("nasbench201").parse(CELL).save(run.architecture_path)
    trained = train_job(run, {}, {}, {})
    assert (trained.channels, trained.cells) == (24, 1)
    assert train_job(run, {}, {"channels": 4}, {}).channels == 4


@pytest.mark.parametrize("given", [{}, {"size": {"channels": 20}}, {"target": ["params=1M"]}])
def test_a_preset_of_a_size(given: dict[str, Any]) -> None:
    search = {key: value for key, value in given.items() if key == "target"}
    sections = {"job": {}, "data": {"name": "fashion-mnist"}, "settings": {}, "selection": {}}
    job = asked_search({**sections, "search": search, "size": given.get("size", {})}, "mobile-60m")
    channels = 20 if given.get("size") else 16
    assert (job.space, job.channels, job.cells) == ("mobile", channels, 1)
    assert job.bound_at == Size(channels=channels, cells=1)
    assert job.search.at_most == ({} if search else {"macs": 60e6})
    with pytest.raises(UsageError, match=r"'mobile-60m' is of space 'mobile': leave it out"):
        of_size("mobile-60m", "darts")
    with pytest.raises(UsageError, match=r"Unknown preset 'mobile-6m'.*mobile-60m"):
        preset_settings("mobile-6m", "nasp")
