"""The processes of one run: all take the same steps, each on its part of every batch.

What they must have alike, they have by construction: gradients and figures are sums over all, what
one process alone knows (a time, the user's wish to stop) is the first one's, and random numbers are
drawn alike by all but inside the passes over their parts.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from nasp.errors import NaspError
from nasp.runs.random_state import random_states, restore_random_states, seed_all
from nasp.training.batches import Part

Shared = TypeVar("Shared")

LOST = "Another process of this run has ended, so this one does, too."


class RankLostError(NaspError):
    """A process of the run has ended while the others were waiting for it."""


class Ranks:
    """One of the processes, and its way to the others.

    Args:
        rank: its number, from 0.
        size: how many there are; with one alone nothing is sent.
        device: where it computes.
    """

    def __init__(self, rank: int = 0, size: int = 1, device: torch.device | str = "cpu") -> None:
        self.rank = rank
        self.size = size
        self.device = torch.device(device)

    @property
    def is_first(self) -> bool:
        """Whether it is the one that writes, and speaks."""
        return self.rank == 0

    def own(self, parts: Sequence[Part]) -> list[Part]:
        """Return this process's share of a batch's parts.

        Of fewer parts than processes, each takes all, for that share of the sum.
        """
        bounds, _ = self.bounds(len(parts))
        share = 1 if len(parts) >= self.size else 1 / self.size
        return [Part(p.batch, p.of_loss * share, p.share * share) for p in parts[bounds]]

    def bounds(self, count: int) -> tuple[slice, float]:
        """Return which of so many things this process has, and what share of the whole it is.

        Of fewer things than processes each has all.
        """
        if count < self.size:
            return slice(0, count), 1 / self.size
        first, end = (number * count // self.size for number in (self.rank, self.rank + 1))
        return slice(first, end), (end - first) / count

    def sum(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over all processes, to the same bits in each.

        Args:
            tensors: of the same shapes everywhere, on the device; those of one type are sent
                together.
        """
        if self.size == 1:
            return
        for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
            alike = [tensor for tensor in tensors if tensor.dtype == dtype]
            flat = torch.cat([tensor.detach().reshape(-1) for tensor in alike])
            with _losses():
                dist.all_reduce(flat)
            sums = torch.split(flat, [tensor.numel() for tensor in alike])
            for tensor, summed in zip(alike, sums, strict=True):
                tensor.detach().copy_(summed.view(tensor.shape))

    def in_any(self, flags: Sequence[bool]) -> list[bool]:
        """Return of each flag whether it is set in any process."""
        if self.size == 1:
            return list(flags)
        sums = torch.tensor([float(flag) for flag in flags], device=self.device)
        self.sum([sums])
        return [value > 0 for value in sums.tolist()]

    def share(self, make: Callable[[], Shared]) -> Shared:
        """Return what the first process makes, in all of them; none has drawn random numbers.

        Raises:
            NaspError: it could not be made.
        """
        if self.size == 1:
            return make()
        made: list[tuple[Shared | None, NaspError | None]] = [(None, None)]
        if self.is_first:
            states = random_states()
            try:
                made = [(make(), None)]
            except NaspError as error:
                made = [(None, error)]
            restore_random_states(states)
        with _losses():
            dist.broadcast_object_list(made, src=0, device=self.device)
        value, failure = made[0]
        if failure is not None:
            raise failure
        return value  # type: ignore[return-value]

    def alike(self, tensors: Sequence[Tensor]) -> None:
        """Give all processes the first one's tensors."""
        for tensor in tensors if self.size > 1 else ():
            there = tensor.detach().to(self.device)
            with _losses():
                dist.broadcast(there, src=0)
            tensor.detach().copy_(there)

    def agree(self, what: str, value: object) -> None:
        """Make sure that all processes have the same value.

        Raises:
            NaspError: they have not.
        """
        if self.size == 1:
            return
        digest = hashlib.blake2b(pickle.dumps(value), digest_size=16).digest()
        if any(self.in_any([self.share(lambda: digest) != digest])):
            raise NaspError(
                f"The processes of this run do not have the same {what}: something in the network,"
                " the loss or the data is not alike in all of them, such as a random number without"
                " a seed, or drawn by rank; nothing of this epoch is kept."
            )

    def filled(self, memory: Tensor) -> None:
        """Give all processes what each has left in a tensor, whose other entries are NaN."""
        is_here = ~memory.isnan()
        count, total = is_here.to(memory.dtype), memory.detach().nan_to_num(nan=0.0)
        self.sum([count, total])
        memory.detach().copy_(torch.where(count > 0, total / count, torch.nan))

    @contextmanager
    def own_draws(self, seed: int, number: int) -> Iterator[None]:
        """Let each process draw random numbers of its own; afterwards all are where they were.

        Args:
            seed: of the run.
            number: of the pass in which they are drawn: another pass draws others.
        """
        if self.size == 1:
            yield
            return
        states = random_states()
        text = f"{seed}/{number}/{self.rank}"
        seed_all(int.from_bytes(hashlib.blake2b(text.encode(), digest_size=4).digest(), "big"))
        try:
            yield
        finally:
            restore_random_states(states)


@contextmanager
def _losses() -> Iterator[None]:
    """Say it in a sentence when another process is gone."""
    try:
        yield
    except RuntimeError as error:  # of gloo, and torch.distributed.DistBackendError of nccl
        raise RankLostError(LOST) from error
