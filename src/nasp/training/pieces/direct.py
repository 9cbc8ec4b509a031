"""A CUDA graph that is launched by the driver itself."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from typing import Any

import torch


class DirectGraph:
    """What `torch.cuda.CUDAGraph` is, for work that draws no random numbers.

    Torch (to 2.12) writes the state of its generator to the device before each replay, by two
    kernels, and a step of a path that changes replays some three hundred small graphs.
    """

    def __init__(self) -> None:
        self._graph = torch.cuda.CUDAGraph()
        self._executable: Any = None
        self._device: torch.device

    def capture_begin(self, pool: Any, capture_error_mode: str) -> None:
        """Note what is launched from here on, and launch nothing."""
        self._graph.capture_begin(pool=pool, capture_error_mode=capture_error_mode)

    def capture_end(self) -> None:
        """Note no more."""
        self._graph.capture_end()
        driver = _driver()
        if driver is not None and hasattr(self._graph, "raw_cuda_graph_exec"):
            self._executable = driver.CUgraphExec(self._graph.raw_cuda_graph_exec())
            self._device = torch.device("cuda", torch.cuda.current_device())

    def replay(self) -> None:
        """Launch what was noted, on the current stream.

        Raises:
            RuntimeError: the driver could not.
        """
        driver = _driver()
        if self._executable is None or driver is None:
            self._graph.replay()
            return
        # Of a device by its name: to look up the current one takes as long as half the launch.
        stream = driver.CUstream(torch.cuda.current_stream(self._device).cuda_stream)
        (error,) = driver.cuGraphLaunch(self._executable, stream)
        if error != driver.CUresult.CUDA_SUCCESS:
            raise RuntimeError(f"the graph could not be launched ({error.name})")


@cache
def _driver() -> Any | None:
    """Return the bindings of CUDA's driver, which torch with CUDA brings; None without them."""
    with suppress(ImportError, RuntimeError):  # the latter: there is no driver
        from cuda.bindings import driver

        driver.cuDriverGetVersion()
        return driver
    return None
