from __future__ import annotations

import pytest
import torch
from PIL import Image

from nasp.domains.images import decoded
from nasp.domains.images.augment import plain
from nasp.domains.images.datasets import load_images
from nasp.domains.images.defaults import default_space
from nasp.domains.images.folder import likely_side
from nasp.domains.images.loader import Loader
from nasp.errors import NaspError, UsageError
from nasp.training.events import Loading, Noted


def load(path, **options):
    return load_images(f"folder:{path}", **options)


def test_images_of_one_size_come_into_memory(make_folder):
    seen = []
    images = load(make_folder(), observe=seen.append)
    assert not images.lazy
    assert images.train.images.shape == (20, 3, 16, 16)
    assert images.train.labels.tolist() == [0] * 10 + [1] * 10
    assert images.classes == ("cat", "dog")
    assert (images.in_channels, images.image_size) == (3, 16)
    told = "2 classes, 16×16 pixels; images: 20 train, 20 test."
    assert seen == [Loading(40, 40, "opening images"), Loading(40, 40), Noted(told)]


def test_worker_processes_decode_the_same(make_folder, monkeypatch):
    data = make_folder()
    expected = load(data).train.images
    state = torch.get_rng_state()
    monkeypatch.setattr(decoded, "_WORTH_WORKERS", 1)
    monkeypatch.setattr(decoded, "_CHUNK", 3)
    assert torch.equal(load(data).train.images, expected)
    assert torch.equal(torch.get_rng_state(), state)
    (data / "test/dog/009.jpg").write_bytes(b"damaged")
    with pytest.raises(NaspError, match=r"dog/009\.jpg"):
        load(data)


def test_without_a_test_folder_a_balanced_fifth_is_held_out(make_folder):
    data = make_folder(parts=("train",))
    images, again = load(data), load(data)
    assert torch.bincount(images.train.labels).tolist() == [8, 8]
    assert torch.bincount(images.test.labels).tolist() == [2, 2]
    assert torch.equal(images.test.images, again.test.images)


def test_val_is_to_choose_by_and_a_fifth_is_held_out_as_test_part(make_folder):
    images = load(make_folder(parts=("train", "val")))
    assert (len(images.train), len(images.val), len(images.test)) == (16, 20, 4)
    assert images.held_out is None


def test_differing_sizes_stay_on_disk(make_folder):
    images = load(make_folder(sizes=((20, 30), (40, 16))))
    assert images.lazy
    assert images.image_size == 224
    assert images.train.images[0].shape == (3, 20, 30)
    assert images.train.images[1].shape == (3, 40, 16)
    assert load_images(images.name, image_size=12).image_size == 12


def test_too_many_bytes_stay_on_disk(make_folder, monkeypatch):
    data = make_folder()
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 1000)
    assert load(data).lazy


def test_other_formats_than_jpeg_are_read(make_folder):
    data = make_folder()
    pixels = Image.new("RGB", (16, 16), (1, 2, 3))
    pixels.save(data / "train/cat/999.bmp")
    assert load(data).train.images[10, :, 0, 0].tolist() == [1, 2, 3]


def test_hidden_files_are_passed_over(make_folder):
    data = make_folder()
    (data / "train/cat/.DS_Store").write_text("x")
    (data / "train/cat/Thumbs.db").write_text("x")
    assert len(load(data).train) == 20


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"no image", lambda b: b""]
)
def test_a_damaged_image_is_named(make_folder, damage):
    data = make_folder()
    victim = data / "train/dog/004.jpg"
    victim.write_bytes(damage(victim.read_bytes()))
    with pytest.raises(NaspError, match=r"dog/004\.jpg") as caught:
        load(data)
    assert not isinstance(caught.value, UsageError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_image_on_disk_is_named_by_the_loader(make_folder, workers):
    data = make_folder(sizes=((20, 30), (40, 16)), images=4)
    images = load(data, image_size=8)
    victim = data / "test/dog/002.jpg"
    victim.write_bytes(victim.read_bytes()[:100])
    loader = Loader(images.test, plain(images), batch_size=4, training=False, workers=workers)
    with pytest.raises(NaspError, match=r"dog/002\.jpg") as caught:
        list(loader)
    assert "\n" not in str(caught.value)


def test_layout_errors_say_what_is_missing(make_folder, tmp_path):
    with pytest.raises(UsageError, match="no folder"):
        load(tmp_path / "absent")
    (tmp_path / "bare").mkdir()
    with pytest.raises(UsageError, match="'train'"):
        load(tmp_path / "bare")
    (tmp_path / "bare/train").mkdir()
    with pytest.raises(UsageError, match="no class folders"):
        load(tmp_path / "bare")
    data = make_folder()
    with pytest.raises(UsageError, match="Image size 0"):
        load(data, image_size=0)


def test_an_empty_class_is_refused(make_folder):
    data = make_folder()
    (data / "train/eel").mkdir()
    with pytest.raises(UsageError, match=r"eel holds no images"):
        load(data)


def test_a_file_that_is_no_image_is_refused(make_folder):
    data = make_folder()
    (data / "test/cat/notes.txt").write_text("remember the milk")
    with pytest.raises(UsageError, match=r"notes\.txt is not an image"):
        load(data)


def test_other_test_classes_are_refused(make_folder):
    data = make_folder()
    (data / "test/dog").rename(data / "test/eel")
    with pytest.raises(UsageError, match="'dog', 'eel'"):
        load(data)


@pytest.mark.parametrize(
    ("sizes", "given", "side"),
    [
        (((16, 16),), {}, 16),
        (((128, 128),), {}, 128),
        (((16, 16), (16, 20)), {}, 224),
        (((16, 20),), {}, 224),
        (((16, 16),), {"image_size": 160}, 160),
    ],
)
def test_the_default_space_goes_by_the_side_that_a_network_will_read(
    make_folder, sizes, given, side
):
    folder = make_folder(images=2, sizes=sizes)
    name = f"folder:{folder}"
    assert (given.get("image_size") or likely_side(name)) == side
    assert load(folder, **given).image_size == side
    assert default_space({"name": name, **given}) == ("mobile" if side >= 128 else "darts")


def test_images_that_do_not_fit_in_memory_will_be_read_large(make_folder, monkeypatch):
    folder = make_folder(images=2)
    monkeypatch.setattr(decoded, "MEMORY_LIMIT", 8 * 3 * 16 * 16 - 1)
    assert likely_side(f"folder:{folder}") == load(folder).image_size == 224


def test_a_file_that_is_no_image_is_told_of_later(make_folder):
    folder = make_folder(images=2)
    (folder / "train/cat/000.jpg").write_bytes(b"no image")
    assert likely_side(f"folder:{folder}") == 16
