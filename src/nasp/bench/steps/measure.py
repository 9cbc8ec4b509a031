"""Measures one row in this process."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from nasp.bench.steps.gpu_work import GpuWork, gpu_work
from nasp.bench.steps.memory import PeakMemory
from nasp.bench.steps.rows import Iteration, make_iteration
from nasp.bench.steps.settings import BenchSettings
from nasp.errors import CaptureWarning, NaspError
from nasp.runs.clock import timed
from nasp.runs.pool import Workplace
from nasp.training.device import computing


class Request(BaseModel):
    """What a fresh process is asked to measure.

    Attributes:
        row: its name.
        settings: network, batch, device.
        warmup: iterations that are run first and not timed.
        repeats: iterations that are timed.
        counts: also count what one more iteration does, at the end: its FLOPs or, on a CUDA
            device, its kernels.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: str
    settings: BenchSettings
    warmup: int = Field(2, ge=1)
    repeats: int = Field(5, ge=1)
    counts: bool = True


class Sample(BaseModel):
    """What it found.

    Attributes:
        arch_seconds: of each timed A step.
        weight_seconds: of each timed w step.
        peak_bytes: the most memory of all iterations, above `idle_bytes`.
        held_bytes: what was held after the last of them, above it: gradients, buffers.
        idle_bytes: held with the network and the data built and torch's kernels loaded, before
            the first iteration.
        peak_source: how the two were had, see `PeakMemory`.
        flops: of one iteration by torch's FlopCounter (convolutions and matrix products, two
            a multiply-add); None where they were not asked for, and on a CUDA device, where a
            captured graph hides them.
        arch_work: what one more A step asked of a CUDA device.
        weight_work: what one more w step did.
        architecture: the path that the row was given.
        machine: what it ran on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    arch_seconds: list[float]
    weight_seconds: list[float]
    peak_bytes: int
    held_bytes: int = 0
    idle_bytes: int
    peak_source: str
    flops: int | None
    arch_work: GpuWork | None = None
    weight_work: GpuWork | None = None
    architecture: dict[str, str | None]
    machine: dict[str, Any]


def measure_row(request: Request, _: Workplace | None = None) -> Sample:
    """Measure a row in this process; memory is right only in a fresh one.

    Raises:
        UsageError: there is no such row, network or device.
        NaspError: a step could not be captured on a GPU.
    """
    if request.settings.threads is not None:
        torch.set_num_threads(request.settings.threads)
    with computing(request.settings.device, request.settings.deterministic), refusing_uncaptured():
        return _measured(request, make_iteration(request.row, request.settings))


def _measured(request: Request, iteration: Iteration) -> Sample:
    _load_kernels(iteration.device)
    memory = PeakMemory(iteration.device)
    for _ in range(request.warmup):
        iteration.arch_step()
        iteration.weight_step()
    arch_seconds, weight_seconds = [], []
    for _ in range(request.repeats):
        arch_seconds.append(timed(iteration.arch_step, iteration.device))
        weight_seconds.append(timed(iteration.weight_step, iteration.device))
    peak, held = memory.above_idle(), memory.held()
    device = iteration.device
    is_cuda = device.type == "cuda"
    return Sample(
        arch_seconds=arch_seconds,
        weight_seconds=weight_seconds,
        peak_bytes=peak,
        held_bytes=held,
        idle_bytes=memory.idle,
        peak_source=memory.source,
        # Last, in passes of their own: counting slows them and needs memory.
        flops=_iteration_flops(iteration) if request.counts and not is_cuda else None,
        arch_work=gpu_work(iteration.arch_step, device) if request.counts else None,
        weight_work=gpu_work(iteration.weight_step, device) if request.counts else None,
        architecture=dict(iteration.architecture),
        machine=machine(device),
    )


@contextmanager
def refusing_uncaptured() -> Iterator[None]:
    """Let a step that a GPU could not capture end a measurement, whose figures it would change.

    Raises:
        NaspError: there was such a step.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", CaptureWarning)
        try:
            yield
        except CaptureWarning as warning:
            raise NaspError(f"{warning}.") from warning


def count_flops(step: Callable[[], object]) -> int:
    """Return a step's FLOPs, forward and backward, by torch's FlopCounter."""
    with FlopCounterMode(display=False) as counter:
        step()
    return int(counter.get_total_flops())


def machine(device: torch.device) -> dict[str, Any]:
    """Return what the measurement runs on."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "torch": torch.__version__,
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "python": platform.python_version(),
        "os": platform.platform(),
    }


def _load_kernels(device: torch.device) -> None:
    """Run a tiny network, so that libraries loaded on first use count as idle (20 MB on CPU)."""
    layers = nn.Sequential(
        nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(3, 1, 1)
    )
    network = nn.Sequential(layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.randn(2, 4, 8, 8, device=device)
    target = torch.zeros(2, dtype=torch.long, device=device)
    torch.autograd.backward(cross_entropy(network(images), target))


def _iteration_flops(iteration: Iteration) -> int:
    def both() -> None:
        iteration.arch_step()
        iteration.weight_step()

    return count_flops(both)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor() or platform.machine()
