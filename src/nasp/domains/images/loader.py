"""Batches whose content depends on nothing but seed, pass and position."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from nasp.domains.images.augment import ImageTransform
from nasp.domains.images.image_set import LabelledImages
from nasp.errors import NaspError, UsageError

Key = tuple[int, list[int]]  # the number of the pass, and the indices of one batch


class Loader:
    """Yields `(x, y)`: float32 `[B, C, H, W]` and int64 `[B]`, on the CPU.

    What a batch holds is a pure function of the seed, the number of the pass and the position in
    it. PyTorch's global generators are neither read nor changed, and the number of worker
    processes makes no difference. So a loader that was restored by `load_state_dict` goes on
    with the very bits that the uninterrupted one would have given.

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
        workers: processes that decode images on disk, default 2; images in memory need none.

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
        workers: int = 2,
    ) -> None:
        self._indices = torch.arange(len(part)) if indices is None else indices
        images = len(self._indices)
        if batch_size < 1:
            raise UsageError(f"Batch size {batch_size} is not possible: give 1 or more.")
        if images < (batch_size if training else 1):
            raise UsageError(
                f"There are {images} images, too few for a batch of {batch_size}:"
                " give a smaller batch size or more images."
            )
        self._reader = _Reader(part, transform, seed)
        self._batch_size = batch_size
        self._seed = seed
        self._training = training
        self._workers = 0 if isinstance(part.images, Tensor) else workers
        self._pass = 0
        self._position = 0

    def __len__(self) -> int:
        """Return the batches of a whole pass."""
        images = len(self._indices)
        return images // self._batch_size if self._training else -(-images // self._batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches from the state to the end of the pass.

        Raises:
            NaspError: an image on disk is damaged; the message names it.
        """
        number, start = self._pass, self._position
        batches = torch.split(self._order(number), self._batch_size)
        keys = [(number, batch.tolist()) for batch in batches]
        for position, item in enumerate(self._read(keys[start : len(self)]), start):
            if isinstance(item, NaspError):
                raise item
            x, y = item
            x = self._reader.finish(x, number, position)
            # Before the yield, which is where a generator rests while a checkpoint is written.
            # The last batch closes its pass at once: a caller that counts batches (zip does)
            # may never ask for the end, and would otherwise see the same pass for ever.
            if self._training:
                closes = position + 1 == len(self)
                self._pass, self._position = (number + 1, 0) if closes else (number, position + 1)
            yield x, y

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
        if not self._training:
            return self._indices
        generator = torch.Generator().manual_seed(_mix(self._seed, "order", number))
        return self._indices[torch.randperm(len(self._indices), generator=generator)]

    def _read(self, keys: list[Key]) -> Iterable[tuple[Tensor, Tensor] | NaspError]:
        if self._workers == 0:
            return (self._reader[key] for key in keys)
        # The keys say all, so workers hold no state and skipped batches are never decoded.
        # Without a generator of its own, a DataLoader would draw from the global one.
        return DataLoader(
            self._reader,
            batch_size=None,
            sampler=keys,
            num_workers=self._workers,
            generator=torch.Generator(),
        )


class _Reader(Dataset[tuple[Tensor, Tensor] | NaspError]):
    """Reads a batch and transforms its samples, in this process or in a worker."""

    def __init__(self, part: LabelledImages, transform: ImageTransform, seed: int) -> None:
        self.part = part
        self.transform = transform
        self.seed = seed

    def __getitem__(self, key: Key) -> tuple[Tensor, Tensor] | NaspError:
        """Return uint8 `[B, C, H, W]` and int64 `[B]`, or the error.

        The error is returned since a DataLoader adds the worker's traceback to a raised one.
        """
        number, indices = key
        chosen = torch.tensor(indices)
        labels = self.part.labels[chosen]
        images, sample = self.part.images, self.transform.sample
        if sample is None and isinstance(images, Tensor):
            return images[chosen], labels
        samples = []
        with torch.random.fork_rng(devices=[]):
            for index in indices:
                try:
                    image = images[index]
                except NaspError as error:
                    return error
                # Not torch.manual_seed: that would also seed the GPU, which fork_rng left alone.
                torch.default_generator.manual_seed(_mix(self.seed, "sample", number, index))
                samples.append(image if sample is None else sample(image))
        return torch.stack(samples), labels

    def finish(self, images: Tensor, number: int, position: int) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(_mix(self.seed, "batch", number, position))
            return self.transform.batch(images)


def _mix(*parts: int | str) -> int:
    """Return a seed that depends on all parts and is the same on every machine, below 2**63."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
