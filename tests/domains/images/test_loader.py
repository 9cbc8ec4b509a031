from __future__ import annotations

import itertools
import json
import random

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from nasp.domains.images import reader
from nasp.domains.images.augment import augmentation, plain
from nasp.domains.images.datasets import load_images
from nasp.domains.images.image_set import ImageSet, LabelledImages
from nasp.domains.images.loader import Loader
from nasp.domains.images.reader import fits
from nasp.domains.images.splits import halves
from nasp.errors import NaspError, UsageError


@pytest.fixture(params=["memory", "disk"])
def images(request, make_folder):
    if request.param == "memory":
        return load_images("digits")
    return load_images(f"folder:{make_folder(sizes=((20, 30), (40, 16)))}", image_size=12)


def training(images, **options) -> Loader:
    options = {"batch_size": 3, "seed": 5, "indices": torch.arange(20), "workers": 1, **options}
    return Loader(images.train, augmentation(images, cutout=4), **options)


def same(a, b) -> bool:
    return all(torch.equal(s, t) for s, t in zip(a, b, strict=True))


def test_a_resumed_loader_gives_the_very_bits(images):
    loader = training(images)
    first = iter(loader)
    for _ in range(4):
        next(first)
    state = json.loads(json.dumps(loader.state_dict()))
    expected = [*first, *loader]
    assert len(expected) == 2 + 6

    torch.manual_seed(99)
    resumed = training(images, workers=0)
    resumed.load_state_dict(state)
    got = [*resumed, *resumed]
    assert len(got) == len(expected)
    assert all(same(a, b) for a, b in zip(got, expected, strict=True))
    assert resumed.state_dict() == loader.state_dict() == {"pass": 2, "position": 0}


def test_a_pass_that_was_broken_off_is_continued(images):
    whole = list(training(images, workers=0))
    loader = training(images, workers=0)
    parts = [*itertools.islice(loader, 2), *loader]
    assert all(same(a, b) for a, b in zip(parts, whole, strict=True))


def test_the_global_generator_is_neither_read_nor_changed(images):
    torch.manual_seed(1)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    batches = list(training(images))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]
    torch.manual_seed(2)
    assert all(same(a, b) for a, b in zip(training(images), batches, strict=True))


def test_passes_and_seeds_differ(images):
    loader = training(images, workers=0)
    first, second = list(loader), list(loader)
    other = list(training(images, workers=0, seed=6))
    assert not any(same(a, b) for a, b in zip(first, second, strict=True))
    assert not any(same(a, b) for a, b in zip(first, other, strict=True))


def test_shapes_and_types(images):
    size, channels = images.image_size, images.in_channels
    for x, y in training(images, workers=0):
        assert (x.shape, x.dtype) == ((3, channels, size, size), torch.float32)
        assert (y.shape, y.dtype) == ((3,), torch.int64)


def test_the_last_batch_closes_the_pass_even_if_nobody_asks_for_the_end():
    digits = load_images("digits")
    loader, ids = training(digits), []
    for _ in range(2):
        ids.append([y.tolist() for (_, y), _ in zip(loader, range(len(loader)), strict=False)])
    assert loader.state_dict()["pass"] == 2
    assert ids[0] != ids[1]


def test_training_sees_each_image_at_most_once_a_pass_and_only_its_own():
    digits = load_images("digits")
    weights, _ = halves(digits, seed=0, subset=50)
    loader = Loader(digits.train, plain(digits), batch_size=16, indices=weights)
    assert len(loader) == 3
    x = torch.cat([x for x, _ in loader])
    own = plain(digits)(digits.train.images[weights])
    found = [(own == one).flatten(1).all(1).nonzero().tolist() for one in x]
    assert all(len(places) == 1 for places in found)
    assert len({places[0][0] for places in found}) == 48


def test_evaluation_is_whole_in_order_and_starts_anew():
    digits = load_images("digits")
    loader = Loader(digits.test, plain(digits), batch_size=100, training=False)
    next(iter(loader))
    batches = list(loader)
    assert len(batches) == len(loader) == 4
    assert torch.equal(torch.cat([y for _, y in batches]), digits.test.labels)
    torch.testing.assert_close(
        torch.cat([x for x, _ in batches]), plain(digits)(digits.test.images)
    )


def test_a_batch_is_the_same_whatever_came_before_it(images):
    whole = list(training(images, workers=0))
    for position in (5, 0, 3, 3):
        loader = training(images, workers=0)
        loader.load_state_dict({"pass": 0, "position": position})
        assert same(next(iter(loader)), whole[position])


class Transfers(TorchDispatchMode):
    """Counts copies from the CPU to another device."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        device = (kwargs or {}).get("device")
        if func is torch.ops.aten._to_copy.default and device is not None:
            self.count += args[0].device.type == "cpu" and torch.device(device).type != "cpu"
        return func(*args, **kwargs or {})


def test_a_batch_is_made_on_the_device_without_a_look_at_it(images):
    # The device "meta" refuses to tell a value, as a GPU does only at the price of waiting.
    loader = training(images, workers=0, device="meta")
    assert len(list(loader)) == 6  # which also moves what fits
    held = not images.lazy
    with Transfers() as transfers:
        for x, y in loader:
            assert (x.device.type, y.device.type) == ("meta", "meta")
            assert (x.shape[0], x.dtype, y.dtype) == (3, torch.float32, torch.int64)
    # The draws of each batch and the order of a pass; or each batch's draws, images and labels.
    assert transfers.count == (6 + 1 if held else 6 * 3)
    test = Loader(images.test, plain(images), training=False, workers=0, device="meta")
    assert sum(len(y) for _, y in test) == len(images.test)
    with Transfers() as transfers:
        batches = list(test)
    assert transfers.count == (1 if held else 2 * len(batches))


def test_what_does_not_fit_is_moved_batch_by_batch(monkeypatch):
    digits = load_images("digits")
    monkeypatch.setattr(reader, "fits", lambda size, device: False)
    loader = training(digits, device="meta")
    with Transfers() as transfers:
        batches = list(loader)
    assert all(x.device.type == y.device.type == "meta" for x, y in batches)
    assert transfers.count == 6 * 3


def test_half_of_the_free_memory_is_enough(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2_000, 100_000))
    assert fits(1_000, torch.device("cuda:1"))
    assert not fits(1_001, torch.device("cuda:1"))
    assert fits(2**60, torch.device("cpu"))


def test_on_a_cpu_images_stay_where_they_are():
    digits = load_images("digits")
    before = digits.train.images.clone()
    with Made() as made:
        list(training(digits))
    assert made.largest < digits.train.images.numel()
    assert torch.equal(digits.train.images, before)


class Made(TorchDispatchMode):
    """Notes how many values the largest tensor has that an operation returned."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **kwargs or {})
        # A view takes no memory.
        if isinstance(result, torch.Tensor) and not func.is_view:
            self.largest = max(self.largest, result.numel())
        return result


def test_impossible_loaders_are_refused():
    digits = load_images("digits")
    with pytest.raises(UsageError, match=r"20 images.*batch of 64"):
        training(digits, batch_size=64)
    with pytest.raises(UsageError, match="Batch size 0"):
        training(digits, batch_size=0)
    with pytest.raises(UsageError, match="0 images"):
        training(digits, indices=torch.arange(0), training=False)


def test_a_state_beyond_the_pass_is_refused():
    with pytest.raises(NaspError, match=r"batch 40.*6 batches"):
        training(load_images("digits")).load_state_dict({"pass": 0, "position": 40})


def test_a_balanced_pass_has_each_class_equally_often_and_all_of_its_images():
    labels = torch.tensor([0] * 70 + [1] * 20 + [2] * 10)
    part = LabelledImages(torch.arange(100, dtype=torch.uint8)[:, None, None, None], labels)
    images = ImageSet("uneven", part, part, ("a", "b", "c"), 1, 1, (0.0,), (1 / 255,))
    loader = Loader(part, plain(images), batch_size=100, balanced=True, seed=3)
    again = Loader(part, plain(images), batch_size=100, balanced=True, seed=3)
    passes = [next(iter(loader)) for _ in range(2)]
    for x, y in passes:
        counts = torch.bincount(y)
        assert sorted(counts.tolist()) == [33, 33, 34]
        often = torch.bincount(x.flatten().round().long(), minlength=100)
        for label, most in ((0, 1), (1, 2), (2, 4)):
            of_class = often[labels == label]
            assert of_class.max() - of_class.min() <= 1
            assert of_class.max() <= most
    assert not torch.equal(passes[0][0], passes[1][0])
    assert all(torch.equal(x, next(iter(again))[0]) for x, _ in passes)
