"""Where the bytes of a batch come from: memory, the device's if they fit, or files on disk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nasp.domains.images.image_set import LazyImages
from nasp.errors import NaspError

Bytes = tuple[Tensor, Tensor]
"""The images of a batch, uint8 `[B, C, H, W]`, and their labels, int64 `[B]`."""


class Places(NamedTuple):
    """What is to be read of a batch.

    Attributes:
        places: among the images, int64, on the CPU.
        first: the place in the whole batch of the first of them.
        seed: of what is random in reading the batch.
    """

    places: Tensor
    first: int
    seed: int


class MemoryReader:
    """Gathers batches of images that are in memory.

    At the first batch, images that then fit on the device (`fits`) are moved there once, as bytes.
    Others stay where they are, and each batch is moved by itself.

    Args:
        images: uint8 `[N, C, H, W]`.
        labels: int64 `[N]`.
        indices: which of them, int64 `[n]`.
        device: where batches are wanted.
    """

    def __init__(
        self, images: Tensor, labels: Tensor, indices: Tensor, device: torch.device
    ) -> None:
        self._given = images, labels, indices
        self._device = device

    def read(self, batches: Sequence[Places]) -> Iterable[Bytes]:
        """Yield batches; see `DiskReader.read`. Nothing is random here."""
        if not batches:
            return
        images, labels, indices = self._held
        order = indices[move(torch.cat([each.places for each in batches]), indices.device)]
        for chosen in torch.split(order, [len(each.places) for each in batches]):
            x, y = images.index_select(0, chosen), labels.index_select(0, chosen)
            if x.device != self._device:
                x, y = move(x, self._device), move(y, self._device)
            yield x, y

    @cached_property
    def _held(self) -> tuple[Tensor, Tensor, Tensor]:
        images, labels, indices = self._given
        if images.device == self._device or not fits(len(indices) * images[0].nbytes, self._device):
            return images, labels, indices
        chosen = images.index_select(0, indices), labels[indices]
        places = torch.arange(len(indices), device=self._device)
        return chosen[0].to(self._device), chosen[1].to(self._device), places


class DiskReader(Dataset[Bytes | NaspError]):
    """Decodes the images of a batch, in worker processes or in this one.

    Args:
        images: decode on access.
        labels: int64 `[N]`.
        indices: which of them, int64 `[n]`.
        device: where batches are wanted.
        sample: brings an image to its size; may draw from the global CPU generator.
        workers: processes; 0: this one.
    """

    def __init__(
        self,
        images: LazyImages,
        labels: Tensor,
        indices: Tensor,
        device: torch.device,
        sample: Callable[[Tensor], Tensor] | None,
        workers: int,
    ) -> None:
        self._images = images
        self._labels = labels
        self._indices = indices
        self._device = device
        self._sample = sample
        self._workers = workers

    def read(self, batches: Sequence[Places]) -> Iterable[Bytes]:
        """Yield batches on the device.

        Args:
            batches: what is to be read.

        Raises:
            NaspError: an image is damaged; the message names it.
        """
        # The keys say all, so workers hold no state and skipped batches are never decoded.
        loader: DataLoader[Bytes | NaspError] = DataLoader(
            self,
            batch_size=None,
            sampler=[(b.seed + b.first, self._indices[b.places].tolist()) for b in batches],
            num_workers=self._workers,
            pin_memory=self._device.type == "cuda",
            generator=torch.Generator(),  # or it would draw from the global one
        )
        for item in loader:
            if isinstance(item, NaspError):
                raise item
            yield move(item[0], self._device), move(item[1], self._device)

    def __getitem__(self, key: tuple[int, list[int]]) -> Bytes | NaspError:
        """Return a batch on the CPU, or the error.

        The error is returned since a DataLoader adds the worker's traceback to a raised one.
        """
        seed, indices = key
        samples = []
        with torch.random.fork_rng(devices=[]):
            for place, index in enumerate(indices):
                # Each for itself: a share of a batch is what it is in the whole. And not
                # torch.manual_seed: that would also seed the GPU, which fork_rng left alone.
                torch.default_generator.manual_seed((seed + place) % 2**63)
                try:
                    image = self._images[index]
                except NaspError as error:
                    return error
                samples.append(image if self._sample is None else self._sample(image))
        return torch.stack(samples), self._labels[torch.tensor(indices)]


def move(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a tensor from the CPU; a CUDA device copies it while the host goes on."""
    if device.type == "cuda":
        tensor = tensor.pin_memory()  # itself, where it is pinned already
    return tensor.to(device, non_blocking=True)


def fits(size: int, device: torch.device) -> bool:
    """Return whether so many bytes take at most half of a CUDA device's free memory."""
    return device.type != "cuda" or size <= torch.cuda.mem_get_info(device)[0] // 2
