"""Batches of images on a GPU: the CPU's, and nobody waits for them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from nasp.domains.images import reader
from nasp.domains.images.augment import augmentation, plain
from nasp.domains.images.image_set import ImageSet, LabelledImages
from nasp.domains.images.loader import Loader

pytestmark = pytest.mark.cuda


class Files:
    """Images that are made on access, of two sizes."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int, /) -> Tensor:
        generator = torch.Generator().manual_seed(index)
        shape = (3, 20, 30) if index % 2 else (3, 40, 16)
        return torch.randint(256, shape, dtype=torch.uint8, generator=generator)


@pytest.fixture(params=["memory", "disk"])
def images(request: pytest.FixtureRequest) -> ImageSet:
    held = torch.randint(256, (20, 3, 12, 12), dtype=torch.uint8)
    part = LabelledImages(held if request.param == "memory" else Files(), torch.arange(20) % 5)
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    return ImageSet("images", part, part, tuple("abcde"), 3, 12, mean, std)


def training(images: ImageSet, device: str) -> Loader:
    options: dict[str, Any] = {"batch_size": 3, "seed": 5, "workers": 1}
    return Loader(images.train, augmentation(images, cutout=4), device=device, **options)


def assert_same(ours: Loader, theirs: Loader, kind: str) -> None:
    for batch, expected in zip(ours, theirs, strict=True):
        assert all(part.device.type == kind for part in batch)
        assert all(torch.equal(a.cpu(), b) for a, b in zip(batch, expected, strict=True))


@pytest.mark.parametrize("fitting", [True, False])
def test_a_batch_on_a_gpu_is_the_cpus(
    images: ImageSet, device: str, monkeypatch: pytest.MonkeyPatch, fitting: bool
) -> None:
    monkeypatch.setattr(reader, "fits", lambda size, device: fitting)
    kind = torch.device(device).type
    ours, theirs = training(images, device), training(images, "cpu")
    for _ in range(2):
        assert_same(ours, theirs, kind)
    options: dict[str, Any] = {"batch_size": 7, "training": False}
    assert_same(
        Loader(images.test, plain(images), device=device, **options),
        Loader(images.test, plain(images), **options),
        kind,
    )


def test_a_resumed_loader_gives_the_very_bits(images: ImageSet, device: str) -> None:
    whole = training(images, device)
    batches = iter(whole)
    for _ in range(4):
        next(batches)
    resumed = training(images, device)
    resumed.load_state_dict(whole.state_dict())
    for batch, expected in zip([*resumed, *resumed], [*batches, *whole], strict=True):
        assert all(torch.equal(a, b) for a, b in zip(batch, expected, strict=True))


def test_a_loader_does_not_wait_for_the_gpu(images: ImageSet, device: str) -> None:
    if torch.device(device).type != "cuda":
        pytest.skip("a CPU has nothing to wait for")
    loader = training(images, device)
    list(loader)
    torch.cuda.set_sync_debug_mode("error")
    try:
        list(loader)
    finally:
        torch.cuda.set_sync_debug_mode("default")
