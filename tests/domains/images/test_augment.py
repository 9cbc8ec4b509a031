from __future__ import annotations

import dataclasses

import pytest
import torch

from nasp.domains.images.augment import Cutout, augmentation, plain
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


def test_plain_only_normalises():
    images = stripes()
    x = plain(images)(images.train.images)
    expected = (images.train.images.float() / 255 - 0.5) / 0.25
    torch.testing.assert_close(x, expected)
    assert plain(images).sample is None


def test_training_images_of_digits_are_normalised():
    digits = load_images("digits")
    x = plain(digits)(digits.train.images)
    assert x.mean().item() == pytest.approx(0, abs=1e-4)
    assert x.std().item() == pytest.approx(1, abs=1e-3)


def test_flips_only_where_a_mirror_image_means_the_same():
    mirrored = brighter_left(augmentation(stripes())(stripes().train.images))
    assert 10 < mirrored.sum() < 54
    kept = stripes(mirrors=False)
    assert not brighter_left(augmentation(kept)(kept.train.images)).any()


def test_digits_are_shifted_by_one_pixel_and_never_flipped():
    digits = load_images("digits")
    images = digits.train.images[:100]
    x = augmentation(digits).batch(torch.zeros_like(images))
    zero = x[0, 0, 0, 0].item()
    padded = torch.nn.functional.pad(plain(digits)(images), (1, 1, 1, 1), value=zero)
    for got, image in zip(augmentation(digits)(images), padded, strict=True):
        shifts = [image[:, i : i + 8, j : j + 8] for i in range(3) for j in range(3)]
        assert any(torch.allclose(got, shift) for shift in shifts)


@pytest.mark.parametrize(("size", "padding"), [(8, 1), (28, 4), (32, 4), (64, 8)])
def test_the_padding_is_an_eighth(size, padding):
    crop = augmentation(stripes(size=size)).sample.transforms[0]
    assert crop.padding == [padding] * 4


def test_cutout_blanks_one_square_an_image_and_may_cross_the_border():
    torch.manual_seed(0)
    x = Cutout(6)(torch.ones(500, 3, 12, 12))
    blank = x == 0
    assert torch.equal(blank[:, 0], blank[:, 2])
    areas = blank[:, 0].sum((1, 2))
    assert areas.max() == 36
    assert areas.min() == 9  # a centre in the corner leaves a quarter
    assert len({tuple(b.flatten().tolist()) for b in blank[:, 0]}) > 50
    heights, widths = blank[:, 0].any(2).sum(1), blank[:, 0].any(1).sum(1)
    assert torch.equal(heights * widths, areas)


@pytest.mark.parametrize("side", [1, 5, 16])
def test_cutout_has_its_side_and_fits_single_images(side):
    x = torch.ones(1, 40, 40)
    areas = [int((Cutout(side)(x) == 0).sum()) for _ in range(50)]
    assert max(areas) == side * side


def test_cutout_follows_normalisation():
    images = stripes()
    x = augmentation(images, cutout=8)(images.train.images)
    assert (x == 0).flatten(1).any(1).all()
    assert not (augmentation(images)(images.train.images) == 0).any()
    with pytest.raises(UsageError, match="-1"):
        augmentation(images, cutout=-1)


def test_images_on_disk_are_cropped_at_random_for_training_and_alike_for_evaluation(make_folder):
    images = load_images(f"folder:{make_folder(sizes=((20, 30), (40, 16)))}", image_size=12)
    image = images.train.images[0]
    train, test = augmentation(images).sample, plain(images).sample
    assert train(image).shape == test(image).shape == (3, 12, 12)
    assert not torch.equal(train(image), train(image))
    assert torch.equal(test(image), test(image))
    still = dataclasses.replace(images, mirrors=False)
    assert len(augmentation(still).sample.transforms) == 1
