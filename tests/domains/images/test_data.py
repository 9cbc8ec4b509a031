"""Loaders of an image set: which images each has, and where its batches are made."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nasp.domains.images.augment import plain
from nasp.domains.images.data import ImageConfig, ImageData, read_images
from nasp.domains.images.splits import halves

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


def test_a_training_is_measured_on_all_test_images_in_order() -> None:
    data = digits(subset=50)
    loaders = data.train_loaders(None, CPU, 0)
    assert len(loaders.train) == 3
    labels = torch.cat([y for _, y in loaders.measured])
    assert torch.equal(labels, data.images.test.labels)


@pytest.mark.parametrize("job", ["search", "train"])
def test_batches_are_made_on_the_device_of_the_run(job: str) -> None:
    data, meta = digits(), torch.device("meta")
    loaders = data.search_loaders(None, meta, 0) if job == "search" else ()
    loaders = loaders or data.train_loaders(None, meta, 0)[:2]
    for loader in loaders:
        x, y = next(iter(loader))
        assert x.device == y.device == meta
