"""What the processes of a run tell one another about each pass: sums, and nothing that rests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from nasp.errors import NaspError, UsageError
from nasp.supernet.probe.norms import Found
from nasp.training.batches import Part, moved, parts_of
from nasp.training.ranks import Ranks
from nasp.training.supervised import Supervised
from nasp.training.synced_norm import SYNCED, synced
from nasp.training.task import Batch, Remembers, Task
from nasp.training.unread import Unread


class Exchange:
    """Makes of passes over shares of a batch one over the whole batch.

    Args:
        ranks: the processes.
        network: its BatchNorms may be synced.
        task: of the batches.
        is_static: what has a gradient follows from the path alone; else it may differ by the
            share, and a gradient that others have is zero here.
        sync_bn: let BatchNorms normalise by the whole batch.
        seed: of the run.

    Attributes:
        passes: how many there were, by which each draws random numbers of its own.
    """

    def __init__(
        self,
        ranks: Ranks,
        network: nn.Module,
        task: Task,
        is_static: bool,
        sync_bn: bool,
        seed: int,
    ) -> None:
        self.ranks = ranks
        self.passes = 0
        self._task = task
        self._is_static = is_static
        self._seed = seed
        self._norms = [m for m in network.modules() if type(m) in SYNCED] if sync_bn else []

    def parts(self, batch: Batch, accumulate: int) -> tuple[Batch, list[Part]]:
        """Return a batch on the device, and this process's parts of it.

        Args:
            batch: all of it, or as a `Part` this process's share.
            accumulate: into how many parts each process splits its share.
        """
        share = batch if isinstance(batch, Part) else None
        here = moved(batch if share is None else share.batch, self.ranks.device)
        if share is None:
            return here, self.ranks.own(parts_of(here, accumulate * self.ranks.size, self._task))
        of_loss, of_labels = self._weight(here, share)
        own = parts_of(here, accumulate, self._task)
        return here, [Part(p.batch, p.of_loss * of_loss, p.share * of_labels) for p in own]

    def _weight(self, here: Batch, share: Part) -> tuple[float, float]:
        """Return what a share counts for in the loss of the batch, and in its metrics.

        Raises:
            UsageError: the loss ignores every label of a process's share.
        """
        divisor = self._task.divisor(here) if isinstance(self._task, Supervised) else None
        if divisor is None:
            return share.of_loss, share.share
        own = [divisor.loss or 0.0, divisor.labels, float(divisor.labels == 0)]
        total = torch.tensor(own, device=self.ranks.device, dtype=torch.float64)
        self.ranks.sum([total])
        loss, labels, ignored = total.tolist()
        if ignored:
            raise UsageError(
                "The loss ignores every label that a process has of a batch: give larger batches,"
                " or num_workers=0, with which each process reads all of a batch."
            )
        return 1.0 if divisor.loss is None else divisor.loss / loss, divisor.labels / labels

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Let passes over this process's share go by."""
        self.passes += 1
        with self.ranks.own_draws(self._seed, self.passes), synced(self._norms, self.ranks):
            yield

    def join(
        self, batch: Batch, unread: Unread, leaves: Sequence[Tensor], found: Sequence[Found]
    ) -> tuple[Unread, list[Found]]:
        """Add up what all processes found.

        Args:
            batch: all of it, on the device.
            unread: the figures of this process's share.
            leaves: their ``.grad`` becomes the sums.
            found: inner products of a probe, of this process's share.

        Returns:
            The figures, and the inner products, of the whole batch.

        Raises:
            NaspError: edges were not read alike everywhere.
        """
        if self.ranks.size == 1:
            return unread, list(found)
        places = [place for its, _ in found for place in its]
        values = [values for _, values in found if len(values)]
        if not self._is_static:
            self._meet(leaves, places)
        names, figures = unread.totals(self.ranks.device)
        products = [torch.cat(values)] if values else []
        gradients = [leaf.grad for leaf in leaves if leaf.grad is not None]
        self.ranks.sum([*gradients, *products, figures])
        if isinstance(self._task, Remembers):
            self.ranks.filled(self._task.memory(batch))
        whole = Unread()
        named = dict(zip(names, figures.unbind(), strict=True))
        whole.add(Part(None, 1.0, 1.0), named.pop("loss"), named)
        return whole, [(places, products[0])] if products else []

    def _meet(self, leaves: Sequence[Tensor], places: Sequence[tuple[int, int]]) -> None:
        """Give each leaf a gradient that has one anywhere."""
        there = self.ranks.in_any([leaf.grad is not None for leaf in leaves])
        for leaf, is_there in zip(leaves, there, strict=True):
            if is_there and leaf.grad is None:
                leaf.grad = torch.zeros_like(leaf)
        if places and self.ranks.size > 1:
            first = self.ranks.share(lambda: list(places))
            if any(self.ranks.in_any([first != list(places)])):
                raise NaspError(
                    "The network did not run the same edges in all processes, since what it runs"
                    " depends on the examples: search it on one device."
                )
