"""Seconds that a step takes, on the device that it runs on."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

import torch

Clock = Literal["wall", "cpu"]
"""By the wall, or the time that the process's threads spent on a processor."""

CLOCKS: dict[Clock, Callable[[], float]] = {"wall": time.monotonic, "cpu": time.process_time}
"""What tells the seconds of each clock, from an instant of its own."""


def timed(step: Callable[[], object], device: torch.device) -> float:
    """Return a step's seconds by the wall clock; on a CUDA device by its own events."""
    if device.type == "cuda":
        return _timed_by_events(step, device)
    _finish(device)
    start = time.perf_counter()
    step()
    _finish(device)
    return time.perf_counter() - start


def _timed_by_events(step: Callable[[], object], device: torch.device) -> float:
    begin, end = _event(), _event()
    torch.cuda.synchronize(device)
    begin.record()
    step()
    end.record()
    torch.cuda.synchronize(device)
    return float(begin.elapsed_time(end)) / 1000


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def _finish(device: torch.device) -> None:
    if device.type == "mps":
        torch.mps.synchronize()
