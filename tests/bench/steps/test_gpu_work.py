"""What a GPU's trace amounts to, and the captured floor, as far as a CPU can tell."""

from __future__ import annotations

import pytest
import torch
from torch.profiler import ProfilerActivity

from nasp.bench.steps.captured import CapturedTraining
from nasp.bench.steps.gpu_work import GpuWork, gpu_work, summary, traced
from nasp.bench.steps.networks import make_supernet, random_path
from nasp.bench.steps.rows import FLOOR_CAPTURED, _learner, make_iteration
from nasp.bench.steps.settings import BenchSettings
from nasp.bench.steps.workloads import workload
from nasp.errors import UsageError
from nasp.supernet.derive import derive
from nasp.training.device import make_fabric

TINY = BenchSettings(space="nasbench201", channels=4, cells=1, batch=2, image_size=8, device="cpu")

TRACE = [
    {"ph": "X", "cat": "kernel", "name": "sgemm", "dur": 10.5, "ts": 1},
    {"ph": "X", "cat": "kernel", "name": "add", "dur": 2, "ts": 2},
    {"ph": "X", "cat": "gpu_memset", "name": "Memset (Device)", "dur": 1},
    {"ph": "X", "cat": "gpu_memcpy", "name": "Memcpy DtoH (Device -> Pageable)", "dur": 3},
    {"ph": "X", "cat": "gpu_memcpy", "name": "Memcpy HtoD (Pinned -> Device)", "dur": 3},
    {"ph": "X", "cat": "gpu_memcpy", "name": "Memcpy DtoD (Device -> Device)", "dur": 3},
    {"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "dur": 4},
    {"ph": "X", "cat": "cuda_runtime", "name": "cudaGraphLaunch", "dur": 4},
    {"ph": "X", "cat": "cuda_runtime", "name": "cudaStreamSynchronize", "dur": 40},
    {"ph": "X", "cat": "cuda_runtime", "name": "cudaDeviceSynchronize", "dur": 40},
    {"ph": "X", "cat": "cpu_op", "name": "aten::add", "dur": 4},
    {"ph": "s", "cat": "ac2g", "name": "ac2g", "id": 1},
    {"ph": "M", "name": "process_name", "args": {}},
]


def test_a_trace_is_counted() -> None:
    assert summary(TRACE, 7) == GpuWork(
        kernels=2,
        graphs=1,
        busy_seconds=12.5e-6,
        synchronisations=1,
        copies_to_host=1,
        copies_to_device=1,
        peak_bytes=7,
    )


def test_torch_writes_such_traces() -> None:
    events = traced(lambda: torch.ones(3) + 1, ProfilerActivity.CPU)
    names = {event["name"] for event in events if event.get("cat") == "cpu_op"}
    assert "aten::add" in names
    assert summary(events).kernels == 0


def test_elsewhere_there_is_nothing_to_tell() -> None:
    assert gpu_work(lambda: None, torch.device("cpu")) is None


def test_the_captured_floor_takes_the_steps_of_the_floor() -> None:
    def steps(captured: bool) -> tuple[list[float], dict[str, torch.Tensor]]:
        supernet = make_supernet(TINY)
        network = derive(supernet, supernet.architecture(random_path(supernet, TINY)))
        work = workload(TINY, supernet.network)
        fabric = make_fabric("cpu", "32-true")
        if captured:
            training = CapturedTraining(fabric, network, work)
            losses = [training.step() for _ in range(3)]
        else:
            learner = _learner(fabric, network, list(network.parameters()), work)
            losses = [learner.weight_step(work.batches[0])["loss"] for _ in range(3)]
        return losses, network.state_dict()

    losses, weights = steps(captured=True)
    expected_losses, expected = steps(captured=False)
    assert losses == pytest.approx(expected_losses)
    for name, tensor in weights.items():
        torch.testing.assert_close(tensor, expected[name])


def test_the_captured_floor_needs_a_gpu() -> None:
    with pytest.raises(UsageError, match="Row 'floor-captured' is for CUDA devices"):
        make_iteration(FLOOR_CAPTURED, TINY)
