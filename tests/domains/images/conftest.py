"""Tiny image folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

Make = Callable[..., Path]


@pytest.fixture
def make_folder(tmp_path: Path) -> Make:
    """Return a function that writes `images` JPEGs a class; sizes are cycled through.

    The part ``.`` is the folder itself.
    """

    def make(
        *,
        classes: tuple[str, ...] = ("cat", "dog"),
        images: int = 10,
        sizes: tuple[tuple[int, int], ...] = ((16, 16),),
        parts: tuple[str, ...] = ("train", "test"),
    ) -> Path:
        generator = np.random.default_rng(0)
        for part in parts:
            for name in classes:
                folder = tmp_path / "data" / part / name
                folder.mkdir(parents=True)
                for i in range(images):
                    shape = (*sizes[i % len(sizes)], 3)
                    pixels = generator.integers(0, 256, shape, dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{i:03}.jpg")
        return tmp_path / "data"

    return make
