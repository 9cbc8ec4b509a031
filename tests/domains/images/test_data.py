"""Loaders of an image set: which images each has, and where its batches are made."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nasp.domains.images.augment import plain
from nasp.domains.images.data import ImageConfig, ImageData, read_images
from nasp.domains.images.splits import halves, hold_out_tenth
from nasp.domains.images.train import ImageTrainConfig
from nasp.errors import UsageError

CPU = torch.device("cpu")


def digits(**settings: Any) -> ImageData:
    return read_images(ImageConfig(name="digits", batch_size=16, **settings))


def test_a_search_reads_disjoint_halves_and_selects_on_the_alphas() -> None:
    data = digits(subset=40)
    loaders = data.search_loaders(None, CPU, 3)
    weights, alphas = halves(data.images, 3, 40)
    assert not set(weights.tolist()) & set(alphas.tolist())
    assert [len(loader) for loader in loaders] == [2, 2, 2]
    own = plain(data.images)(data.images.train.images[alphas])
    selected = torch.cat([x for x, _ in loaders.selection])
    places = [(own == x).flatten(1).all(1).nonzero().flatten().tolist() for x in selected]
    assert len({place for (place,) in places}) == 32
    assert all(
        torch.equal(x, again)
        for (x, _), (again, _) in zip(loaders.selection, loaders.selection, strict=True)
    )
    ours, theirs = next(iter(loaders.weights))[1], next(iter(loaders.alphas))[1]
    assert not torch.equal(ours, theirs)


def test_a_training_chooses_by_a_held_out_tenth_and_ends_with_all_test_images() -> None:
    data = digits(subset=50)
    loaders = data.train_loaders(None, CPU, 0)
    assert len(loaders.train) == 3
    assert loaders.test is not None
    labels = torch.cat([y for _, y in loaders.test])
    assert torch.equal(labels, data.images.test.labels)
    kept, held_out = hold_out_tenth(data.images.train.labels)
    chosen_by = torch.cat([x for x, _ in loaders.measured])
    assert torch.equal(chosen_by, plain(data.images)(data.images.train.images[held_out]))
    assert len(kept) + len(held_out) == len(data.images.train)
    everything = digits().train_loaders(None, CPU, 0)
    assert len(everything.train) == len(kept) // 16


@pytest.mark.parametrize("job", ["search", "train"])
def test_batches_are_made_on_the_device_of_the_run(job: str) -> None:
    data, meta = digits(), torch.device("meta")
    loaders = data.search_loaders(None, meta, 0) if job == "search" else ()
    loaders = loaders or data.train_loaders(None, meta, 0)[:2]
    for loader in loaders:
        x, y = next(iter(loader))
        assert x.device == y.device == meta


def test_a_batch_that_nobody_asked_for_gives_way_to_few_images() -> None:
    said: list[str] = []
    images = read_images(ImageConfig(name="digits")).images
    config = ImageConfig(name="digits", subset=20, batch_size=64, may_shrink=True)
    data = ImageData(config, images, lambda event: said.append(event.message))
    assert [len(loader) for loader in data.search_loaders(None, CPU, 0)] == [4, 4, 4]
    assert len(data.train_loaders(None, CPU, 0).train) == 4
    assert said[0] == "20 images fill no batch of 64: batches have 5."
    assert sum("fill no batch" in line for line in said) == 1
    assert [data.batch_size(n) for n in (200, 64, 63, 5, 1)] == [64, 64, 15, 2, 2]
    with pytest.raises(UsageError, match="too few for a batch of 64"):
        ImageData(config.model_copy(update={"may_shrink": False}), images).train_loaders(
            None, CPU, 0
        )


def test_uneven_classes_are_said_and_balanced_ones_chosen_by(make_folder) -> None:
    folder = make_folder(parts=("train",), images=20)
    for path in sorted((folder / "train/dog").iterdir())[4:]:
        path.unlink()
    for balanced in (False, True):
        config = ImageConfig(name=f"folder:{folder}", balanced=balanced)
        heard: list[object] = []
        data = read_images(config, heard.append)
        sentences = [event for event in heard if "uneven" in str(event)]
        assert len(sentences) == (not balanced)
        name = data.task(ImageTrainConfig()).figure.name
        assert name == ("balanced_accuracy" if balanced else "accuracy")
        assert data.task().figure.name == "accuracy"
