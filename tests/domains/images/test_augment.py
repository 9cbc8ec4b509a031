from __future__ import annotations

import dataclasses
import itertools

import pytest
import torch
from torchvision.transforms import v2

from nasp.domains.images.augment import augmentation, crop, cut_out, mirror, plain
from nasp.domains.images.datasets import load_images
from nasp.domains.images.image_set import ImageSet, LabelledImages
from nasp.errors import UsageError


def stripes(mirrors: bool = True, size: int = 32) -> ImageSet:
    """Images that are dark on the left and bright on the right."""
    images = torch.full((64, 3, size, size), 10, dtype=torch.uint8)
    images[..., size // 2 :] = 250
    part = LabelledImages(images, torch.zeros(64, dtype=torch.int64))
    return ImageSet("stripes", part, part, ("a",), 3, size, (0.5,) * 3, (0.25,) * 3, mirrors)


def brighter_left(x: torch.Tensor) -> torch.Tensor:
    middle = x.shape[-1] // 2
    row = x[:, 0, middle]
    return row[:, middle - 5] > row[:, middle + 5]


def transformed(images: ImageSet, cutout: int = 0, seed: int = 0) -> torch.Tensor:
    """Return all training images, augmented."""
    transform = augmentation(images, cutout)
    generator = torch.Generator().manual_seed(seed)
    return transform(
        images.train.images, transform.draw(tuple(images.train.images.shape), generator)
    )


def random_images(size: int = 12, count: int = 40) -> torch.Tensor:
    return torch.randint(1, 256, (count, 3, size, size), dtype=torch.uint8)


def test_plain_only_normalises():
    images = stripes()
    x = plain(images)(images.train.images)
    expected = (images.train.images.float() / 255 - 0.5) / 0.25
    torch.testing.assert_close(x, expected)
    assert plain(images).sample is None
    assert plain(images).draw((4, 3, 32, 32), torch.Generator()) is None


def test_normalisation_has_torchvisions_bits():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, -1, -1)
    mean, std = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    images = dataclasses.replace(stripes(), mean=mean, std=std)
    theirs = v2.Compose([v2.ToDtype(torch.float32, scale=True), v2.Normalize(mean, std)])
    assert torch.equal(plain(images)(levels), theirs(levels))


def test_training_images_of_digits_are_normalised():
    digits = load_images("digits")
    x = plain(digits)(digits.train.images)
    assert x.mean().item() == pytest.approx(0, abs=1e-4)
    assert x.std().item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("padding", [1, 4])
def test_a_crop_is_a_slice_of_the_image_within_zeros(padding):
    offsets = list(itertools.product(range(2 * padding + 1), repeat=2))
    images = random_images(count=len(offsets))
    top, left = torch.tensor(offsets).T
    padded = torch.zeros(len(offsets), 3, 12 + 2 * padding, 12 + 2 * padding, dtype=torch.uint8)
    padded[:, :, padding:-padding, padding:-padding] = images
    for got, image, (i, j) in zip(crop(images, top, left, padding), padded, offsets, strict=True):
        assert torch.equal(got, image[:, i : i + 12, j : j + 12])
    middle = torch.full((len(images),), padding)
    assert torch.equal(crop(images, middle, middle, padding), images)


def test_a_mirror_swaps_left_and_right_of_the_chosen():
    images = random_images(count=3)
    got = mirror(images, torch.tensor([1, 0, 1]))
    assert torch.equal(got[1], images[1])
    assert torch.equal(got[0], images[0].flip(2))
    assert torch.equal(got[2], images[2].flip(2))


@pytest.mark.parametrize("side", [1, 5, 6, 16])
def test_cutout_blanks_one_square_an_image_and_may_cross_the_border(side):
    centres = list(itertools.product(range(12), repeat=2))
    row, column = torch.tensor(centres).T
    x = cut_out(torch.ones(len(centres), 3, 12, 12), row, column, side)
    expected = torch.ones_like(x)
    for image, (i, j) in zip(expected, centres, strict=True):
        first = [max(0, centre - side // 2) for centre in (i, j)]
        last = [centre - side // 2 + side for centre in (i, j)]
        image[:, first[0] : last[0], first[1] : last[1]] = 0
    assert torch.equal(x, expected)
    areas = (x[:, 0] == 0).sum((1, 2))
    assert areas.max() == min(side, 12) ** 2
    assert areas.min() == (side - side // 2) ** 2  # a centre in the first corner leaves a quarter


def test_a_batch_is_what_each_image_alone_becomes():
    images = dataclasses.replace(
        stripes(), train=LabelledImages(random_images(32), torch.zeros(40, dtype=torch.int64))
    )
    transform = augmentation(images, cutout=9)
    draws = transform.draw((40, 3, 32, 32), torch.Generator().manual_seed(3))
    batch = transform(images.train.images, draws)
    for x, image, (top, left, mirrored, row, column) in zip(
        batch, images.train.images, draws.T.tolist(), strict=True
    ):
        alone = torch.nn.functional.pad(image, [4] * 4)[:, top : top + 32, left : left + 32]
        alone = alone.flip(2) if mirrored else alone
        alone = plain(images)(alone[None])[0]
        alone[:, max(0, row - 4) : row + 5, max(0, column - 4) : column + 5] = 0
        assert torch.equal(x, alone)


def test_every_offset_side_and_centre_is_drawn_about_as_often():
    transform = augmentation(stripes(), cutout=8)
    draws = transform.draw((40_000, 3, 32, 32), torch.Generator().manual_seed(0))
    assert draws.shape == (5, 40_000)
    assert draws.dtype == torch.int64
    for drawn, count in zip(draws, (9, 9, 2, 32, 32), strict=True):
        expected = 40_000 / count
        counts = torch.bincount(drawn, minlength=count)
        assert len(counts) == count
        assert (counts - expected).abs().max() < 5 * expected**0.5
    # No two of them go together.
    assert torch.corrcoef(draws.double()).fill_diagonal_(0).abs().max() < 0.03


def test_draws_follow_the_generator_alone():
    transform = augmentation(stripes(), cutout=8)
    first, again, other = (
        transform.draw((64, 3, 32, 32), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_flips_only_where_a_mirror_image_means_the_same():
    mirrored = brighter_left(transformed(stripes()))
    assert 10 < mirrored.sum() < 54
    assert not brighter_left(transformed(stripes(mirrors=False))).any()


def test_digits_are_shifted_by_one_pixel_and_never_flipped():
    digits = load_images("digits")
    images = digits.train.images
    zero = plain(digits)(torch.zeros_like(images))[0, 0, 0, 0].item()
    padded = torch.nn.functional.pad(plain(digits)(images), (1, 1, 1, 1), value=zero)
    seen = set()
    for got, image in zip(transformed(digits), padded, strict=True):
        shifts = [image[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
        equal = [torch.equal(got, shift) for shift in shifts]
        assert any(equal)
        seen.add(equal.index(True))
    assert seen == set(range(9))


@pytest.mark.parametrize(("size", "padding"), [(8, 1), (28, 4), (32, 4), (64, 8)])
def test_the_padding_is_an_eighth(size, padding):
    assert augmentation(stripes(size=size)).padding == padding


def test_cutout_follows_normalisation():
    images = stripes()
    x = transformed(images, cutout=8)
    assert (x == 0).flatten(1).any(1).all()
    assert not (transformed(images) == 0).any()
    with pytest.raises(UsageError, match="-1"):
        augmentation(images, cutout=-1)


def test_images_on_disk_are_cropped_at_random_for_training_and_alike_for_evaluation(make_folder):
    images = load_images(f"folder:{make_folder(sizes=((20, 30), (40, 16)))}", image_size=12)
    image = images.train.images[0]
    train, test = augmentation(images).sample, plain(images).sample
    assert train(image).shape == test(image).shape == (3, 12, 12)
    assert not torch.equal(train(image), train(image))
    assert torch.equal(test(image), test(image))
    both = augmentation(images), augmentation(dataclasses.replace(images, mirrors=False))
    assert [(one.padding, one.mirrors) for one in both] == [(0, True), (0, False)]
