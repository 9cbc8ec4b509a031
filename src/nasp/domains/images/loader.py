"""Batches whose content depends on nothing but seed, pass and position."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from nasp.domains.images.augment import ImageTransform
from nasp.domains.images.image_set import LabelledImages
from nasp.domains.images.reader import DiskReader, MemoryReader, Places, move
from nasp.errors import NaspError, UsageError
from nasp.training.batches import Part
from nasp.training.ranks import Ranks


class Loader:
    """Yields `(x, y)`: float32 `[B, C, H, W]` and int64 `[B]`, on the device.

    What a batch holds is a pure function of the seed, the number of the pass and the position in
    it: random numbers are drawn on the CPU, a few for each image, and sent to the device in one
    copy. PyTorch's global generators are neither read nor changed, and neither the device nor the
    number of worker processes makes a difference. So a loader that was restored by
    `load_state_dict` goes on with the very bits that the uninterrupted one would have given.

    Images in memory that fit are moved to the device once (`MemoryReader`), and batches are
    gathered and transformed there. Images on disk are decoded by workers (`DiskReader`), and their
    batches transformed on the device.

    Training (the default): each pass has its own order, and drops the last, incomplete batch.
    `iter` goes on from the state, so a pass that was broken off is continued, not repeated.
    Evaluation (`training=False`): always the whole part, in order, from the start.

    Args:
        part: the images, in memory or on disk.
        transform: `augmentation(image_set)` or `plain(image_set)`.
        batch_size: images a batch, default 64.
        seed: of order and augmentation, default 0.
        indices: which images of the part, int64 `[n]`; default all.
        training: see above.
        balanced: while training, have each class equally often in a pass of as many images as
            there are; of a class with few images, each comes several times, differently augmented.
        workers: processes that decode images on disk, default 2; images in memory need none.
        device: where batches are made; default the CPU.

    Raises:
        UsageError: no images, a batch size below 1, or fewer images than one training batch.
    """

    def __init__(
        self,
        part: LabelledImages,
        transform: ImageTransform,
        *,
        batch_size: int = 64,
        seed: int = 0,
        indices: Tensor | None = None,
        training: bool = True,
        balanced: bool = False,
        workers: int = 2,
        device: torch.device | str = "cpu",
    ) -> None:
        chosen = torch.arange(len(part)) if indices is None else indices
        images = len(chosen)
        if batch_size < 1:
            raise UsageError(f"Batch size {batch_size} is not possible: give 1 or more.")
        if images < (batch_size if training else 1):
            raise UsageError(
                f"There {'is 1 image' if images == 1 else f'are {images} images'}, too few for a"
                f" batch of {batch_size}: give a smaller batch size or more images."
            )
        self._device = torch.empty(0, device=device).device  # "cuda" becomes "cuda:0"
        source = (part.labels, chosen, self._device)
        self._reader: MemoryReader | DiskReader = (
            MemoryReader(part.images, *source)
            if isinstance(part.images, Tensor)
            else DiskReader(part.images, *source, transform.sample, workers)
        )
        self._transform = transform.to(self._device)
        self._images = images
        self._batch_size = batch_size
        self._seed = seed
        self._training = training
        self._members = _members(part.labels[chosen]) if balanced and training else None
        self._pass = 0
        self._position = 0
        self._ranks = Ranks()

    def share(self, ranks: Ranks) -> Iterable[Part]:
        """Return a loader of this process's share of each batch, which alone is read."""
        own = copy.copy(self)
        own._ranks = ranks
        return own  # type: ignore[return-value]

    def __len__(self) -> int:
        """Return the batches of a whole pass."""
        full = self._images // self._batch_size
        return full if self._training else -(-self._images // self._batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches from the state to the end of the pass.

        Raises:
            NaspError: an image on disk is damaged; the message names it.
        """
        number, start, end = self._pass, self._position, len(self)
        order = self._order(number)[start * self._batch_size : end * self._batch_size]
        whole = torch.split(order, self._batch_size)
        shares = [self._ranks.bounds(len(places)) for places in whole]
        seeds = [_mix(self._seed, "sample", number, position) for position in range(start, end)]
        own = [
            Places(b[part], part.start, s)
            for b, (part, _), s in zip(whole, shares, seeds, strict=True)
        ]
        for position, (images, y) in enumerate(self._reader.read(own), start):
            part, share = shares[position - start]
            shape = torch.Size([len(whole[position - start]), *images.shape[1:]])
            x = self._transform(images, self._draws(shape, part, number, position))
            # Before the yield, which is where a generator rests while a checkpoint is written.
            # The last batch closes its pass at once: a caller that counts batches (zip does)
            # may never ask for the end, and would otherwise see the same pass for ever.
            if self._training:
                closes = position + 1 == end
                self._pass, self._position = (number + 1, 0) if closes else (number, position + 1)
            yield (x, y) if self._ranks.size == 1 else Part((x, y), share, share)  # type: ignore[misc]

    def state_dict(self) -> dict[str, int]:
        """Return where the next batch stands: the number of its pass, its position in the pass."""
        return {"pass": self._pass, "position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a state of a loader with the same images, seed and batch size.

        Raises:
            NaspError: the position lies beyond the end of this loader's passes.
        """
        if not 0 <= state["position"] < len(self):
            raise NaspError(
                f"The saved state is at batch {state['position']}, but a pass has {len(self)}"
                " batches here: resume with the same data and batch size."
            )
        self._pass, self._position = state["pass"], state["position"]

    def _order(self, number: int) -> Tensor:
        """Return the places of the images in a pass, int64 on the CPU."""
        if not self._training:
            return torch.arange(self._images)
        generator = _generator(self._seed, "order", number)
        if self._members is None:
            return torch.randperm(self._images, generator=generator)
        return _evenly(self._members, self._images, generator)

    def _draws(self, shape: torch.Size, part: slice, number: int, position: int) -> Tensor | None:
        draws = self._transform.draw(shape, _generator(self._seed, "batch", number, position))
        return None if draws is None else move(draws[:, part].contiguous(), self._device)


def _members(labels: Tensor) -> list[Tensor]:
    """Return the places of each class that there is."""
    return [(labels == label).nonzero().flatten() for label in torch.unique(labels)]


def _evenly(members: list[Tensor], count: int, generator: torch.Generator) -> Tensor:
    """Return `count` places, shuffled, of each class as many but for one, and within it of each."""
    more = torch.randperm(len(members), generator=generator) < count % len(members)
    chosen = []
    for places, one_more in zip(members, more.tolist(), strict=True):
        wanted = count // len(members) + one_more
        passes = -(-wanted // len(places))
        orders = [torch.randperm(len(places), generator=generator) for _ in range(passes)]
        chosen.append(places[torch.cat(orders or [places[:0]])[:wanted]])
    together = torch.cat(chosen)
    return together[torch.randperm(count, generator=generator)]


def _generator(*parts: int | str) -> torch.Generator:
    return torch.Generator().manual_seed(_mix(*parts))


def _mix(*parts: int | str) -> int:
    """Return a seed that depends on all parts and is the same on every machine, below 2**63."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
