"""The memory that an iteration needs above what the process held before it."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

import torch

from nasp.errors import NaspError

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
RESET_PEAK = "5"
"""Written to clear_refs, sets the peak resident set back to the present one (man 5 proc)."""


class PeakMemory:
    """Notes what the process holds now; `above_idle` is the most it has held since, above that.

    On a CUDA device, its allocator's figures. Elsewhere the resident set: Linux's own high-water
    mark, set back at the start; where that cannot be, the process's whole high-water mark, which
    understates nothing, but may overstate by what was needed to get here.

    Attributes:
        source: which of them it is.
        idle: bytes held at the start.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        gc.collect()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            self.source = "torch.cuda.max_memory_allocated"
            self.idle = torch.cuda.memory_allocated(device)
            return
        _return_free_memory()
        self.source = "VmHWM" if _reset_peak() else "ru_maxrss"
        self.idle = _status("VmRSS") or _highest()

    def above_idle(self) -> int:
        """Return the peak since the start, in bytes above what was held then."""
        if self.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(self.device)
        else:
            peak = (_status("VmHWM") if self.source == "VmHWM" else None) or _highest()
        return max(0, peak - self.idle)

    def held(self) -> int:
        """Return what is held now, in bytes above what was held at the start."""
        if self.device.type == "cuda":
            now = torch.cuda.memory_allocated(self.device)
        else:
            now = _status("VmRSS") or _highest()
        return max(0, now - self.idle)


def _return_free_memory() -> None:
    # Freed pages that malloc keeps would be counted as idle and then be used again unseen.
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):  # not glibc
        return


def _reset_peak() -> bool:
    try:
        CLEAR_REFS.write_text(RESET_PEAK)
    except OSError:
        return False
    peak, now = _status("VmHWM"), _status("VmRSS")
    # Some sandboxes take the number and do nothing.
    return peak is not None and now is not None and peak <= 1.02 * now


def _status(name: str) -> int | None:
    try:
        lines = STATUS.read_text().splitlines()
    except OSError:
        return None
    found = [line.split() for line in lines if line.startswith(f"{name}:")]
    return 1024 * int(found[0][1]) if found else None


def _highest() -> int:
    try:
        import resource
    except ImportError as error:  # Windows
        raise NaspError("This system does not tell how much memory a process has held.") from error
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
