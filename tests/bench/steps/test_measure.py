"""One row in one process: what is counted, what is timed, what fails how."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import nn

from nasp.bench.steps import memory
from nasp.bench.steps.measure import Request, count_flops, measure_row, refusing_uncaptured
from nasp.bench.steps.memory import PeakMemory
from nasp.bench.steps.settings import BenchSettings
from nasp.errors import CaptureWarning, NaspError

TINY = BenchSettings(space="nasbench201", channels=4, cells=1, batch=2, image_size=8)


def test_flops_of_a_convolution_are_those_counted_by_hand() -> None:
    conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
    x = torch.randn(2, 3, 8, 8)
    forward = 2 * (2 * 8 * 8) * 4 * (3 * 3 * 3)  # a multiply-add is two
    assert count_flops(lambda: conv(x)) == forward
    # The image needs no gradient, so backward is the weight's alone.
    assert count_flops(lambda: conv(x).sum().backward()) == 2 * forward


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_a_row_is_measured(dtype: str) -> None:
    settings = TINY.model_copy(update={"dtype": dtype})
    sample = measure_row(Request(row="nasp", settings=settings, warmup=1, repeats=3))
    assert len(sample.arch_seconds) == len(sample.weight_seconds) == 3
    assert all(s > 0 for s in sample.arch_seconds + sample.weight_seconds)
    assert sample.peak_bytes >= 0
    assert sample.flops
    assert sample.machine["torch"] == torch.__version__
    assert set(sample.architecture) == {f"cell/{k}" for k in range(6)}


def test_a_step_that_a_gpu_cannot_capture_ends_a_measurement() -> None:
    with pytest.raises(NaspError, match=r"^They could not be captured\.$"), refusing_uncaptured():
        warnings.warn("They could not be captured", CaptureWarning, stacklevel=1)


@pytest.mark.slow
def test_flops_grow_from_the_floor_to_the_rivals() -> None:
    names = ("floor", "nasp", "nasp-unfused", "nasp-plain", "darts", "darts-second-order")
    flops = {
        name: measure_row(Request(row=name, settings=TINY, warmup=1, repeats=1)).flops
        for name in names
    }
    known = {name: count for name, count in flops.items() if count is not None}
    # The fused probe has an order of its own: it may buy time with arithmetic.
    assert known["floor"] < known["nasp"] < known["darts"]
    assert known["floor"] < known["nasp-unfused"] <= known["nasp-plain"]
    assert known["nasp-plain"] < known["darts"] < known["darts-second-order"]


def test_peak_memory_sees_what_was_held_for_a_moment() -> None:
    peak = PeakMemory(torch.device("cpu"))
    if peak.source != "VmHWM":
        pytest.skip("this system cannot set its high-water mark back")
    size = 64 * 2**20
    torch.ones(size, dtype=torch.uint8)
    assert 0.9 * size < peak.above_idle() < 2 * size
    assert PeakMemory(torch.device("cpu")).above_idle() < 0.5 * size


def test_without_a_mark_that_can_be_set_back_the_processs_own_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setattr(memory, "CLEAR_REFS", tmp_path / "no" / "such")
    peak = PeakMemory(torch.device("cpu"))
    assert peak.source == "ru_maxrss"
    assert peak.above_idle() >= 0
