"""Loaders that read a process's share of each batch alone, where they can."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

from torch.utils.data import BatchSampler, DataLoader

from nasp.training.batches import Part
from nasp.training.ranks import Ranks
from nasp.training.supervised import Supervised
from nasp.training.task import Batch, Task


@runtime_checkable
class Shares(Protocol):
    """What a loader adds that can read a share of each batch."""

    def share(self, ranks: Ranks) -> Iterable[Part]:
        """Return a loader of the same batches, of each this process's share; else itself."""
        ...


def shared(loader: Iterable[Batch], task: Task, ranks: Ranks | None) -> Iterable[Batch]:
    """Return what reads this process's share of each batch; the loader itself where it cannot.

    Then all of a batch is read, and the learner takes the share. So it is with tasks that split
    batches in a way of their own, and of torch's loaders with those that read without workers:
    what a data set draws there, it draws from the generators that all processes have alike.
    """
    splits = callable(getattr(task, "split", None)) and not isinstance(task, Supervised)
    if ranks is None or ranks.size == 1 or splits:
        return loader
    if isinstance(loader, Shares):
        return loader.share(ranks)
    if isinstance(loader, DataLoader) and loader.num_workers and loader.batch_sampler is not None:
        return _SharedLoader(loader, ranks)
    return loader


class _SharedLoader:
    """A loader of torch's whose workers read the share alone."""

    def __init__(self, loader: DataLoader[Any], ranks: Ranks) -> None:
        self.loader = loader
        self.ranks = ranks

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Part]:
        assert self.loader.batch_sampler is not None
        shares: deque[float] = deque()
        own = copy.copy(self.loader)
        sampler = _SharedBatches(self.loader.batch_sampler, self.ranks, shares)
        own.__dict__.update(batch_sampler=sampler, _iterator=None)
        for batch in own:
            share = shares.popleft()
            yield Part(batch, share, share)


class _SharedBatches:
    def __init__(
        self, batches: BatchSampler | Iterable[list[int]], ranks: Ranks, shares: deque[float]
    ) -> None:
        self.batches, self.ranks, self.shares = batches, ranks, shares

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches:
            bounds, share = self.ranks.bounds(len(batch))
            self.shares.append(share)
            yield list(batch)[bounds]
