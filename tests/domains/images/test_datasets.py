from __future__ import annotations

import gzip
import struct
from urllib.error import URLError

import numpy as np
import pytest
import torch

from nasp.domains.images import datasets
from nasp.domains.images.datasets import load_images
from nasp.domains.images.image_set import SHAPES, channel_statistics
from nasp.errors import NaspError, UsageError


def test_digits_load_with_a_fixed_balanced_test_fifth():
    digits, again = load_images("digits"), load_images("digits")
    assert len(digits.train) + len(digits.test) == 1797
    assert digits.train.images.shape == (1438, 1, 8, 8)
    assert digits.train.images.dtype == torch.uint8
    assert digits.train.labels.dtype == torch.int64
    assert (digits.train.images.min(), digits.train.images.max()) == (0, 255)
    assert digits.classes == tuple("0123456789")
    assert (digits.in_channels, digits.image_size) == (1, 8)
    assert not digits.mirrors
    counts = torch.bincount(digits.test.labels)
    assert counts.max() - counts.min() <= 3
    assert torch.equal(digits.test.images, again.test.images)


def test_statistics_are_those_of_the_float_images():
    images = torch.randint(0, 256, (20, 3, 5, 4), dtype=torch.uint8)
    mean, std = channel_statistics(images)
    scaled = images.double() / 255
    assert mean == pytest.approx(scaled.mean((0, 2, 3)).tolist())
    assert std == pytest.approx(scaled.std((0, 2, 3), correction=0).tolist())


def test_a_constant_channel_can_be_divided_by():
    assert channel_statistics(torch.full((2, 1, 3, 3), 7, dtype=torch.uint8))[1] == (1.0,)


def test_an_unknown_name_lists_the_known():
    with pytest.raises(UsageError, match=r"'cifar'.*cifar10.*digits.*folder:DIR"):
        load_images("cifar")


def test_only_folders_can_be_resized():
    with pytest.raises(UsageError, match="image size"):
        load_images("digits", image_size=32)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "fashion-mnist"])
def test_without_network_the_message_says_where_files_belong(name, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setattr(datasets, "DEBIAN_FASHION_MNIST", tmp_path / "absent")
    monkeypatch.setenv("NASP_DATA", str(tmp_path / "cache"))
    with pytest.raises(NaspError, match="NASP_DATA") as caught:
        load_images(name)
    assert str(tmp_path / "cache") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_fashion_mnist_comes_from_the_debian_package(tmp_path, monkeypatch):
    package = tmp_path / "package"
    package.mkdir()
    for part in ("train", "t10k"):
        labels = bytes(range(10)) * 2
        images = bytes(i % 251 for i in range(20 * 28 * 28))
        files = {
            f"{part}-images-idx3-ubyte.gz": struct.pack(">4i", 2051, 20, 28, 28) + images,
            f"{part}-labels-idx1-ubyte.gz": struct.pack(">2i", 2049, 20) + labels,
        }
        for name, content in files.items():
            (package / name).write_bytes(gzip.compress(content))
    monkeypatch.setattr(datasets, "DEBIAN_FASHION_MNIST", package)
    clothes = load_images("fashion-mnist", tmp_path / "cache")
    assert clothes.train.images.shape == (20, 1, 28, 28)
    assert clothes.test.labels.tolist() == list(range(10)) * 2
    assert clothes.classes[0] == "T-shirt/top"
    assert (tmp_path / "cache/FashionMNIST/raw/t10k-labels-idx1-ubyte").is_file()


def test_cifar_puts_channels_first(tmp_path, monkeypatch):
    class Reader:
        def __init__(self, root, train):
            self.data = np.zeros((4, 32, 32, 3), dtype=np.uint8)
            self.data[..., 2] = 255
            self.targets = [0, 1, 0, 1]
            self.classes = ["airplane", "automobile"]

    monkeypatch.setattr(datasets, "CIFAR10", Reader)
    cifar = load_images("cifar10", tmp_path)
    assert cifar.train.images.shape == (4, 3, 32, 32)
    assert cifar.train.images.is_contiguous()
    assert cifar.mean == pytest.approx((0, 0, 1))
    assert cifar.test.labels.tolist() == [0, 1, 0, 1]
    assert cifar.mirrors


def test_shapes_that_are_said_beforehand_are_true():
    digits = load_images("digits")
    assert SHAPES["digits"] == (digits.in_channels, digits.image_size, len(digits.classes))
    assert SHAPES.keys() <= set(datasets._READERS)
