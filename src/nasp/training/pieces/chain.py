"""Work captured as a chain of CUDA graphs, cut where something else is to have its turn."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Generic, Protocol, TypeVar

import torch

Mark = TypeVar("Mark")
Result = TypeVar("Result")


class Graph(Protocol):
    """What notes kernels and launches them again, as `torch.cuda.CUDAGraph` does."""

    def capture_begin(self, pool: Any, capture_error_mode: str) -> None:
        """Note what is launched from here on, and launch nothing."""

    def capture_end(self) -> None:
        """Note no more."""

    def replay(self) -> None:
        """Launch what was noted."""


class Chain(Generic[Mark]):
    """Captures a pass in pieces, and single pieces that all work in one memory.

    Args:
        device: where the work is done.
        make_graph: makes what captures.

    Attributes:
        links: what the pass is made of, in order: its pieces, and the marks of its cuts.
    """

    def __init__(self, device: torch.device, make_graph: Callable[[], Graph]) -> None:
        self.links: list[Graph | Mark] = []
        self._device = device
        self._make_graph = make_graph
        self._graph: Graph | None = None
        is_cuda = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if is_cuda else None  # type: ignore[no-untyped-call]
        self._pools = [torch.cuda.graph_pool_handle() if is_cuda else None for _ in range(2)]

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Launch on a stream of its own, and the backward pass from this thread."""
        with torch.autograd.set_multithreading_enabled(False):
            stream = self._stream
            if stream is None:
                yield
                return
            here = torch.cuda.current_stream(self._device)
            stream.wait_stream(here)
            with torch.cuda.stream(stream):
                yield
            here.wait_stream(stream)

    @contextmanager
    def cutting(self) -> Iterator[None]:
        """Capture what is launched, as the links of the chain."""
        self._begin(self._pools[0])
        try:
            yield
        except BaseException:
            self._abandon()
            raise
        self._end()

    def cut(self, mark: Mark) -> None:
        """Let something else have its turn here; in a pass that is not captured, do nothing."""
        if self._graph is None:
            return
        self._end()
        self.links.append(mark)
        self._begin(self._pools[0])

    def single(self, work: Callable[[], Result]) -> tuple[Graph | None, Result]:
        """Return captured work and its result, which holds until another one is replayed.

        None stands for work that launches nothing.
        """
        self._begin(self._pools[1])
        try:
            result = work()
        except BaseException:
            self._abandon()
            raise
        return self._ended(), result

    def _begin(self, pool: Any) -> None:
        self._graph = self._make_graph()
        # Other threads, such as a loader's, may call the driver meanwhile.
        self._graph.capture_begin(pool=pool, capture_error_mode="thread_local")

    def _end(self) -> None:
        graph = self._ended()
        if graph is not None:  # between two cuts there is often nothing to do
            self.links.append(graph)

    def _ended(self) -> Graph | None:
        """Return the graph that is captured; None where torch says that it is empty."""
        graph, self._graph = self._graph, None
        assert graph is not None
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            graph.capture_end()
        return None if any("empty" in str(warning.message) for warning in said) else graph

    def _abandon(self) -> None:
        graph, self._graph = self._graph, None
        if graph is not None:
            with suppress(RuntimeError):  # what broke the capture is on its way already
                graph.capture_end()
