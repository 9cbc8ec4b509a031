"""From an image as Pillow has it to pixels: uint8, upright, on white.

Exported files have `pixels` and `eight_bits` as they stand here: with Pillow and torch alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor

from nasp.errors import NaspError


def read_image(path: str | Path, channels: int = 3) -> Tensor:
    """Decode one image file to uint8 `[channels, h, w]`; see `pixels`.

    Raises:
        NaspError: the file is damaged, is no image, has a range that is not known, or cannot be
            read.
    """
    try:
        with opened(path) as image:
            return pixels(image, channels)
    except Exception as error:  # Pillow's plugins raise whatever damaged bytes lead to
        raise NaspError(
            f"Cannot read the image {path}: {reason(error)}. Replace the file or remove it."
        ) from error


@contextmanager
def opened(path: str | Path) -> Iterator[Image.Image]:
    """Open an image file; its pixels are not read yet."""
    # Pillow warns of odd metadata, of which nothing is read but the orientation.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            yield image


def reason(error: Exception) -> str:
    """Return why an image could not be read, without a stop at the end."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(said).splitlines()[0].rstrip(".")


def pixels(image: Image.Image, channels: int = 3) -> Tensor:
    """Return an image as uint8 `[channels, h, w]`, turned as its EXIF orientation says.

    16-bit images are scaled to 8 bits, and floats from 0..1; what is transparent is laid on white;
    other modes are converted by Pillow.

    Args:
        image: the first frame of it is taken.
        channels: 1 for grey, 3 for RGB.

    Raises:
        ValueError: integers of 32 bits, or floats outside 0..1.
    """
    image = ImageOps.exif_transpose(eight_bits(image))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    content = bytearray(image.convert("L" if channels == 1 else "RGB").tobytes())
    flat = torch.frombuffer(content, dtype=torch.uint8)
    return flat.view(image.height, image.width, channels).permute(2, 0, 1)


def eight_bits(image: Image.Image) -> Image.Image:
    """Return an image whose numbers have 8 bits, its metadata kept."""
    # Pillow may hold the 16 bits of these formats in 32.
    mode, has_16_bits = image.mode, image.format in ("PNG", "PPM")
    if mode.startswith("I;16") or (mode == "I" and has_16_bits):
        wide, scale = image.convert("I"), 1 / 257
    elif mode == "F":
        values = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.float32)
        if not (values.min() >= 0 and values.max() <= 1):
            raise ValueError("its floats lie outside 0..1, so white is not known")
        wide, scale = image, 255
    elif mode == "I":
        raise ValueError("its integers have 32 bits, so white is not known")
    else:
        return image
    grey = wide.point(lambda x: x * scale + 0.5).convert("L")
    grey.info, exif = dict(image.info), image.getexif()
    if exif:
        grey.info["exif"] = exif.tobytes()
    return grey
