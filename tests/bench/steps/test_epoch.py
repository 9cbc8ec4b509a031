"""Whole epochs of the real search, on CIFAR-10 or on random bytes of its shape."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from nasp.bench.steps import epoch
from nasp.bench.steps.epoch import EpochRequest, EpochSettings, measure_epochs, run_epochs_of
from nasp.domains.images.image_set import LabelledImages
from nasp.errors import UsageError
from nasp.runs.pool import Work
from nasp.training.events import EpochEnded, Event, Stepped, Warned, Within, nobody

TINY = EpochSettings(
    space="nasbench201-3", channels=4, cells=1, batch_size=4, steps=2, device="cpu"
)


@pytest.fixture(autouse=True)
def _few_images(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    images = epoch.random_images(0, 40)
    monkeypatch.setattr(epoch, "random_images", lambda seed: images)
    monkeypatch.setenv("NASP_DATA", str(tmp_path / "empty"))


@pytest.mark.parametrize("strategy", ["nasp", "darts"])
def test_epochs_are_measured(strategy: str, tmp_path: Path, in_this_process: list[Work]) -> None:
    path = tmp_path / "epoch.json"
    events: list[Event] = []
    results = measure_epochs(TINY, [strategy], path, events.append)
    results.raise_failures()
    (row,) = json.loads(path.read_text())["rows"]
    assert row["name"] == strategy
    assert len(row["epoch_seconds"]) == 2
    assert row["seconds"] == row["epoch_seconds"][-1] > 0
    assert row["data"] == "random"
    assert [work.fresh for work in in_this_process] == [True]
    assert row["peak_bytes"] >= 0
    within = [event.event for event in events if isinstance(event, Within)]
    assert [e.epoch for e in within if isinstance(e, EpochEnded)] == [1, 2]  # so a bar shows it
    assert sum(isinstance(e, Stepped) for e in within) == 2 * TINY.steps
    assert not any(isinstance(e, Warned) for e in events)  # of so short a search they are idle


def test_random_images_have_the_shape_of_cifar10() -> None:
    images = epoch.random_images(0)
    assert (images.in_channels, images.image_size, len(images.classes)) == (3, 32, 10)
    assert isinstance(images.train.images, torch.Tensor)
    assert images.train.images.shape == (40, 3, 32, 32)
    assert isinstance(images.train, LabelledImages)


def test_an_epoch_of_half_of_cifar10_has_390_steps() -> None:
    assert epoch.IMAGES // 2 // EpochSettings().batch_size == EpochSettings().steps


def test_cifar10_is_taken_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / epoch.FILES).mkdir()
    asked: list[Path] = []

    def load(name: str, root: Path) -> object:
        asked.append(root)
        return epoch.random_images(0)

    monkeypatch.setattr(epoch, "load_images", load)
    run_epochs_of(
        EpochRequest(strategy="nasp", settings=TINY.model_copy(update={"data_dir": tmp_path}))
    )
    assert asked == [tmp_path]


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Unknown strategy 'magic'"):
        measure_epochs(TINY, ["magic"], None, nobody)
    with pytest.raises(UsageError, match="There is no device 'cuda'"):
        measure_epochs(TINY.model_copy(update={"device": "cuda"}), ["nasp"], None, nobody)
