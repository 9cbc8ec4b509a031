"""What a step asks of a GPU: how many kernels, for how long, and how often the host waits."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch.profiler import ProfilerActivity, profile

WAITS = frozenset({"cudaStreamSynchronize", "cudaEventSynchronize", "cudaMemcpy"})
"""Calls of CUDA's runtime in which the host waits for the device."""
KEEP_TRACER = {"TEARDOWN_CUPTI": "0", "DISABLE_CUPTI_LAZY_REINIT": "1"}
"""CUDA's tracer must not be taken down between two traces where graphs were captured."""


class GpuWork(BaseModel):
    """One step, as CUDA's own tracer saw it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kernels: int
    """Kernels that ran, those of a captured graph one by one."""
    graphs: int
    """Captured graphs that were replayed."""
    busy_seconds: float
    """Sum of the kernels' own times."""
    synchronisations: int
    """Times that the host waited for the device."""
    copies_to_host: int
    """Copies from device to host."""
    copies_to_device: int
    """Copies from host to device."""
    peak_bytes: int
    """The most that torch's allocator held during the step."""


def gpu_work(step: Callable[[], object], device: torch.device) -> GpuWork | None:
    """Run a step once more and return what it asked of the GPU; None on another device."""
    if device.type != "cuda":
        return None
    os.environ.update(KEEP_TRACER)
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    events = traced(step, ProfilerActivity.CUDA)
    return summary(events, torch.cuda.max_memory_allocated(device))


def traced(step: Callable[[], object], activity: ProfilerActivity) -> list[dict[str, Any]]:
    """Return the events of a step, as torch writes them for Chrome's trace viewer."""
    with profile(activities=[activity]) as profiled:
        step()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiled.export_chrome_trace(str(path))
        events: list[dict[str, Any]] = json.loads(path.read_text("utf-8"))["traceEvents"]
    return events


def summary(events: Iterable[Mapping[str, Any]], peak_bytes: int = 0) -> GpuWork:
    """Return what a trace's events amount to."""
    # Those without a duration are arrows and names.
    timed = [(e.get("cat"), str(e["name"]), float(e["dur"])) for e in events if "dur" in e]
    kernels = [microseconds for kind, _, microseconds in timed if kind == "kernel"]
    copies = [name for kind, name, _ in timed if kind == "gpu_memcpy"]
    calls = [name for kind, name, _ in timed if kind in ("cuda_runtime", "cuda_driver")]
    return GpuWork(
        kernels=len(kernels),
        graphs=sum(name in ("cudaGraphLaunch", "cuGraphLaunch") for name in calls),
        busy_seconds=sum(kernels) / 1e6,
        synchronisations=sum(name in WAITS for name in calls),
        copies_to_host=sum("DtoH" in name for name in copies),
        copies_to_device=sum("HtoD" in name for name in copies),
        peak_bytes=peak_bytes,
    )
