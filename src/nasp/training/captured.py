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

from nasp.training.task import Batch

PATIENCE = 3
"""Times in a row that work runs as it is before it is captured, which takes as long as ten."""
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
        self._last: dict[Hashable, tuple[Hashable, int]] = {}

    def run(self, kind: Hashable, key: Hashable | None, work: Work, batch: Batch) -> Any:
        """Return ``work(batch)``, a tree of tensors that hold until the next call.

        Args:
            kind: of the work: how often one comes in a row is counted by kind.
            key: equal for work of a kind that does the same to a batch of the same form; None:
                it may never be captured.
            work: does not wait for the device, and leaves Python's objects as they were.
            batch: a tree of tensors.
        """
        form = _form(batch) if self._is_on and key is not None else None
        if form is None:
            return work(batch)
        whole = (kind, key, form)
        graph = self._graphs.get(whole)
        if graph is None:
            last, times = self._last.get(kind, (None, 0))
            times = times + 1 if last == whole else 1
            self._last[kind] = whole, times
            if times <= PATIENCE:
                return work(batch)
            graph = self._capture(whole, work, batch)
            if graph is None:
                return work(batch)
        self._graphs.move_to_end(whole)
        return graph.replay(batch)

    def _capture(self, key: Hashable, work: Work, batch: Batch) -> _Graph | None:
        pool = next(iter(self._graphs.values())).pool if self._graphs else None
        random = torch.cuda.get_rng_state(self._device)
        try:
            graph = _Graph(work, batch, pool)
        except RuntimeError as error:
            self._is_on = False
            self._graphs.clear()
            _free(self._device, random)
            warnings.warn(
                "Steps run kernel by kernel, for they could not be captured as a CUDA graph:"
                f" {str(error).splitlines()[0]}",
                RuntimeWarning,
                stacklevel=2,
            )
            return None
        self._graphs[key] = graph
        if len(self._graphs) > MOST:
            self._graphs.popitem(last=False)
        return graph


class _Graph:
    """Captured work. Graphs share their memory, so results hold until any of them is replayed."""

    def __init__(self, work: Work, batch: Batch, pool: Any) -> None:
        leaves, spec = pytree.tree_flatten(batch)
        self._inputs = [leaf.clone() if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        self._graph = torch.cuda.CUDAGraph()
        # Other threads, such as a loader's, may call the driver meanwhile.
        mode = "thread_local"
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode=mode):
            self._results = work(pytree.tree_unflatten(self._inputs, spec))
        self.pool = self._graph.pool()

    def replay(self, batch: Batch) -> Any:
        leaves = pytree.tree_leaves(batch)
        pairs = zip(self._inputs, leaves, strict=True)
        tensors = [(to, new) for to, new in pairs if isinstance(to, Tensor)]
        if tensors:
            torch._foreach_copy_([to for to, _ in tensors], [new for _, new in tensors])
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
