"""Work that is the same step after step, as a CUDA graph: launched at once, not kernel by kernel.

A GPU waits for Python through two thirds of an ordinary step of a small network. What has come
some times in a row is captured; from then on its kernels are replayed, with the same results.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nasp.errors import CaptureWarning
from nasp.training.task import Batch

PATIENCE = 3
"""Times in a row that work runs as it is before it is captured, which takes as long as ten."""
PATIENCE_WITH_CHANGES = 30
"""The same where its key has changed more than `PATIENCE` times, and is likely to change again."""
MOST = 8
"""Graphs that are kept; the one that was used longest ago gives way."""

Work = Callable[[Batch], Any]


class Captured:
    """Runs work, on a GPU by graphs where that is the same; elsewhere as it is.

    Args:
        device: where the work is done.
        is_on: whether to capture; on no other device than a GPU in any case.
    """

    def __init__(self, device: torch.device, is_on: bool = True) -> None:
        self._device = device
        self._is_on = is_on and device.type == "cuda"
        self._graphs: OrderedDict[Hashable, _Graph] = OrderedDict()
        self._seen: dict[str, tuple[str, int, int]] = {}
        self._ran: dict[str, Hashable] = {}

    def run(
        self,
        kind: str,
        key: Hashable | None,
        work: Work,
        batch: Batch,
        in_pieces: Callable[[Hashable, Batch], Any] | None = None,
    ) -> Any:
        """Return ``work(batch)``, a tree of tensors that hold until the next call.

        Args:
            kind: of the work: how often one comes in a row is counted by kind.
            key: equal for work of a kind that does the same to a batch of the same form; None:
                it may never be captured.
            work: does not wait for the device, and leaves Python's objects as they were.
            batch: a tree of tensors.
            in_pieces: does the work for whatever key, of the batch's form and the batch: for work
                whose key changes all the time.
        """
        form = _form(batch) if self._is_on and key is not None else None
        if form is None:
            return work(batch)
        whole = (kind, key, form)
        last, times, changes = self._seen.get(kind, ("", 0, 0))
        is_new = last != repr(whole)
        times, changes = (1, changes + 1) if is_new else (times + 1, changes)
        # What decides is kept with a run, for one that goes on is to do it the same way.
        self._seen[kind] = repr(whole), times, changes
        is_restless = changes > PATIENCE
        if times > (PATIENCE_WITH_CHANGES if is_restless else PATIENCE):
            # Where it has run here as it is, libraries know their fastest kernels. It has not in a
            # run that was resumed, nor from pieces.
            is_ready = self._ran.get(kind) == whole
            graph = self._graphs.get(whole) or (is_ready and self._capture(whole, work, batch))
            if graph:
                self._graphs.move_to_end(whole)
                return graph.replay(batch)
        elif is_restless and in_pieces is not None:
            random = torch.cuda.get_rng_state(self._device)
            try:
                return in_pieces(form, batch)
            except RuntimeError as error:
                self._give_up(error, random)
        self._ran[kind] = whole
        return work(batch)

    def state_dict(self) -> dict[str, Any]:
        """Return how long what has stood still, by kind."""
        return {kind: list(seen) for kind, seen in self._seen.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self._seen = {
            kind: (last, times, changes) for kind, (last, times, changes) in state.items()
        }

    def _capture(self, key: Hashable, work: Work, batch: Batch) -> _Graph | None:
        pool = next(iter(self._graphs.values())).pool if self._graphs else None
        random = torch.cuda.get_rng_state(self._device)
        try:
            graph = _Graph(work, batch, pool)
        except RuntimeError as error:
            self._give_up(error, random)
            return None
        self._graphs[key] = graph
        if len(self._graphs) > MOST:
            self._graphs.popitem(last=False)
        return graph

    def _give_up(self, error: RuntimeError, random: Tensor) -> None:
        self._is_on = False
        self._graphs.clear()
        _free(self._device, random)
        warnings.warn(
            "Steps run kernel by kernel, for they could not be captured as a CUDA graph:"
            f" {str(error).splitlines()[0]}",
            CaptureWarning,
            stacklevel=3,
        )


class HeldBatch:
    """A batch that stays where it is in memory, for a graph to read.

    Attributes:
        batch: a copy of one; `fill` makes it that of another one.
    """

    def __init__(self, batch: Batch) -> None:
        leaves, spec = pytree.tree_flatten(batch)
        self._leaves = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self.batch = pytree.tree_unflatten(self._leaves, spec)

    def fill(self, batch: Batch) -> None:
        """Take the values of a batch of the same form."""
        pairs = zip(self._leaves, pytree.tree_leaves(batch), strict=True)
        tensors = [(to, new) for to, new in pairs if isinstance(to, Tensor)]
        if tensors:
            torch._foreach_copy_([to for to, _ in tensors], [new for _, new in tensors])


class _Graph:
    """Captured work. Graphs share their memory, so results hold until any of them is replayed."""

    def __init__(self, work: Work, batch: Batch, pool: Any) -> None:
        self._batch = HeldBatch(batch)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads, such as a loader's, may call the driver meanwhile.
        mode = "thread_local"
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode=mode):
            self._results = work(self._batch.batch)
        self.pool = self._graph.pool()

    def replay(self, batch: Batch) -> Any:
        self._batch.fill(batch)
        self._graph.replay()
        return self._results


def _free(device: torch.device, random: Tensor) -> None:
    """Give the device's generator a state of its own again: a failed capture holds on to it."""
    generator = torch.cuda.default_generators[device.index or 0]
    generator.graphsafe_set_state(generator.clone_state())
    torch.cuda.set_rng_state(random, device)


def is_plain(modules: Iterable[nn.Module]) -> bool:
    """Return whether what modules do follows from their inputs, parameters and buffers alone.

    So it is of torch's own layers and those of our spaces, without hooks. What else a user's own
    code depends on, such as a counter or a temperature, a graph would hold fast without a word.
    """
    return all(
        type(module).__module__.startswith(("torch.nn.", "nasp."))
        and not (module._forward_hooks or module._forward_pre_hooks or module._backward_hooks)
        for module in modules
    )


def _form(batch: Batch) -> Hashable | None:
    """Return what two batches must share for the same kernels to fit; None: nobody can say."""
    leaves, spec = pytree.tree_flatten(batch)
    if not all(isinstance(leaf, Tensor) for leaf in leaves):
        return None
    forms = ((x.shape, x.stride(), x.dtype, x.device) for x in leaves)
    return (*forms, str(spec))
