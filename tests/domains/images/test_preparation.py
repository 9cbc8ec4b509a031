"""What a run folder keeps of its images, and that one image comes out as in an evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nasp.domains.images.data import ImageConfig, known_shape, read_images
from nasp.domains.images.decode import read_image
from nasp.domains.images.preparation import PREPARATION, Preparation
from nasp.errors import NaspError, UsageError

CPU = torch.device("cpu")


def test_digits_keep_what_their_network_needs(tmp_path: Path) -> None:
    data = read_images(ImageConfig(name="digits"))
    data.keep(tmp_path)
    data.keep(tmp_path)
    kept = Preparation.read(tmp_path)
    assert kept.classes == tuple("0123456789")
    assert (kept.mean, kept.std) == (data.images.mean, data.images.std)
    assert known_shape(ImageConfig(name="folder:absent"), tmp_path) == data.shape


@pytest.mark.parametrize("sizes", [((16, 16),), ((20, 30), (40, 16))])
def test_an_image_alone_has_the_bits_of_the_evaluation(make_folder, tmp_path, sizes):
    folder = make_folder(sizes=sizes, images=4)
    size = None if len(sizes) == 1 else 12
    data = read_images(
        ImageConfig(name=f"folder:{folder}", image_size=size, workers=0, batch_size=2)
    )
    data.keep(tmp_path)
    kept = Preparation.read(tmp_path)
    evaluated = torch.cat([x for x, _ in data.train_loaders(None, CPU, 0).test])
    files = sorted((folder / "test").glob("*/*.jpg"))
    for of in (lambda file: file, str, Image.open):
        alone = torch.stack([kept.tensor(of(file)) for file in files])
        assert alone.dtype == torch.float32
        assert torch.equal(alone, evaluated)


def test_any_size_and_one_channel_are_brought_to_the_networks() -> None:
    whole = Preparation(
        classes=("a", "b"),
        in_channels=3,
        image_size=8,
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        fit="whole",
    )
    image = torch.full((1, 30, 20), 255, dtype=torch.uint8)
    assert torch.equal(whole.tensor(image), torch.full((3, 8, 8), 2.0))
    with pytest.raises(UsageError, match="4 channels"):
        whole.tensor(image.expand(4, 30, 20))
    with pytest.raises(UsageError, match="float32"):
        whole.tensor(image.float())


def test_other_images_than_the_runs_are_refused(tmp_path: Path) -> None:
    read_images(ImageConfig(name="digits")).keep(tmp_path)
    path = tmp_path / PREPARATION
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "mean": [content["mean"][0] + 1e-9]}))
    read_images(ImageConfig(name="digits")).keep(tmp_path)
    path.write_text(json.dumps({**content, "classes": ["0"]}))
    with pytest.raises(NaspError, match="have changed"):
        read_images(ImageConfig(name="digits")).keep(tmp_path)
    path.write_text("{")
    with pytest.raises(NaspError, match="damaged"):
        Preparation.read(tmp_path)
    with pytest.raises(UsageError, match="not about images"):
        Preparation.read(tmp_path / "absent")


def decoded(path: Path, channels: int = 3) -> list[int]:
    """Return the pixels of a 1×n image, one after the other."""
    return read_image(path, channels).flatten(1).T.flatten().tolist()


def test_sixteen_bits_are_scaled_and_unknown_ranges_refused(tmp_path: Path) -> None:
    path = tmp_path / "grey.png"
    Image.fromarray(np.array([[0, 257, 32768, 65535]], dtype=np.uint16)).save(path)
    assert decoded(path, 1) == [0, 1, 128, 255]
    assert decoded(path)[-3:] == [255, 255, 255]
    path = tmp_path / "grey.tiff"
    Image.fromarray(np.array([[0, 0.5, 1]], dtype=np.float32)).save(path)
    assert decoded(path, 1) == [0, 128, 255]
    for array in (np.array([[0.0, 7.5]], np.float32), np.array([[np.nan]], np.float32)):
        Image.fromarray(array).save(path)
        with pytest.raises(NaspError, match=r"outside 0\.\.1"):
            decoded(path)
    Image.fromarray(np.array([[0, 70000]], dtype=np.int32)).save(path)
    with pytest.raises(NaspError, match="32 bits"):
        decoded(path)


def test_orientation_transparency_and_palettes_are_heeded(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    exif = Image.Exif()
    exif[274] = 6  # to be turned clockwise
    for dtype, scale in ((np.uint8, 1), (np.uint16, 257)):
        turned = Image.fromarray((np.array([[1, 2]]) * scale).astype(dtype))
        turned.save(path, exif=exif)
        assert read_image(path, 1).tolist() == [[[1], [2]]]
    red = Image.new("RGBA", (1, 1), (255, 0, 0, 51))
    for mode in ("RGBA", "LA", "P"):
        seen = tmp_path / "image.png"
        red.convert(mode).save(seen)
        assert decoded(seen)[0] in range(200, 256)
        assert decoded(seen)[1] >= 200
    Image.new("CMYK", (1, 1), (0, 255, 255, 0)).save(tmp_path / "image.jpg")
    assert decoded(tmp_path / "image.jpg")[0] > 200 > decoded(tmp_path / "image.jpg")[1]
