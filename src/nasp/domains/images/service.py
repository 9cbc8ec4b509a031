"""How a network of images is used on files, in nasp and in what is exported."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.datasets.folder import IMG_EXTENSIONS

from nasp.domains.domain import InService
from nasp.domains.images.decode import eight_bits, pixels, read_image
from nasp.domains.images.preparation import Preparation
from nasp.domains.images.sizing import sized
from nasp.errors import validated
from nasp.exporters.source.layout import laid_out

_PREPARE = '''def prepare(path: str | Path) -> Tensor:
    """Return an image file as the network reads it, [{channels},{size},{size}]."""
    with Image.open(path) as image:
        images = pixels(image, {channels})[None]
    images = sized(images, {short}, {size})
{mean}
{std}
    return images[0].to(torch.float32).mul_(1 / 255).sub_(mean).div_(std)'''


@dataclass(frozen=True)
class ImageService:
    """A `nasp.exporters.service.Service` of images that are prepared like a run's."""

    preparation: Preparation

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names, in the order of the network's outputs."""
        return self.preparation.classes

    def tensor(self, file: str | Path) -> Tensor:
        """Return an image file as the network reads it, float32 `[C, S, S]`."""
        return self.preparation.tensor(file)

    def raw(self, file: str | Path) -> Tensor:
        """Return the bytes of an image file, upright, uint8 `[h, w, C]`."""
        return read_image(file, self.preparation.in_channels).permute(1, 2, 0)

    def behind(self, network: nn.Module) -> tuple[nn.Module, Tensor, tuple[int, ...]]:
        """Return the network behind what takes uint8 `[B, h, w, C]`; height and width are free."""
        kept, generator = self.preparation, torch.Generator().manual_seed(0)
        shape = 2, kept.short + 5, kept.short + 12, kept.in_channels
        images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
        return Prepared(network, kept), images, (1, 2)

    def said(self) -> str:
        """Return the preparation as JSON."""
        return self.preparation.model_dump_json()

    def source(self) -> tuple[list[tuple[str, str]], str]:
        """Return the source of ``prepare(path)``."""
        kept = self.preparation
        prepare = _PREPARE.format(
            channels=kept.in_channels,
            size=kept.image_size,
            short=kept.short,
            mean=_constant("mean", kept.mean),
            std=_constant("std", kept.std),
        )
        functions = [inspect.getsource(each).rstrip() for each in (pixels, eight_bits, sized)]
        needed = [("PIL", "Image"), ("PIL", "ImageOps"), ("torch", "Tensor")]
        return needed, "\n\n\n".join([*functions, prepare])


def _constant(name: str, values: tuple[float, ...]) -> str:
    code = f"{name} = torch.tensor({list(values)}).view(-1, 1, 1)"
    return "\n".join(laid_out(code, 1))


class Prepared(nn.Module):
    """A network behind its preparation of images, as one module.

    Resized pixels are rounded floats, where files are read in whole numbers: they may differ by
    one of the 255 levels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, kept: Preparation) -> None:
        super().__init__()
        self.network = network
        self.short, self.size = kept.short, kept.image_size
        for name in ("mean", "std"):
            self.register_buffer(name, torch.tensor(getattr(kept, name)).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 `[B, h, w, C]` to logits `[B, classes]`."""
        # As `sized`, with neither min, round nor a slice, which would fix height and width.
        height, width = images.shape[1:3]
        least: Any = torch.sym_min(height, width)
        shape = self.short * height // least, self.short * width // least
        x = images.permute(0, 3, 1, 2).to(torch.float32)
        x = nn.functional.interpolate(x, size=shape, mode="bilinear", antialias=True)
        for dim, side in zip((2, 3), shape, strict=True):
            rest = side - self.size
            start = rest // 2 + rest % 4 // 3  # half of it, rounded as Python does
            x = x.index_select(dim, torch.arange(self.size, device=x.device) + start)
        logits: Tensor = self.network((x.round() * (1 / 255) - self.mean) / self.std)
        return logits


def _of_said(said: str) -> ImageService:
    return ImageService(validated(Preparation, json.loads(said), "the images in the file"))


IN_SERVICE = InService(
    endings=IMG_EXTENSIONS,
    of_run=lambda run: ImageService(Preparation.read(run)),
    of_said=_of_said,
)
"""Networks of images on image files."""
