"""A training step of which every kernel is launched at once: as one captured CUDA graph."""

from __future__ import annotations

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from nasp.bench.steps.workloads import Workload

WARM_UPS = 3
"""Steps before the capture: libraries choose their algorithms, optimisers make their buffers."""


class CapturedTraining:
    """Steps of a network on one batch, captured on a CUDA device and run eagerly on others.

    Args:
        fabric: device and precision.
        network: its weights are moved.
        work: task, first batch, optimiser and clipping.
    """

    def __init__(self, fabric: Fabric, network: nn.Module, work: Workload) -> None:
        self.fabric = fabric
        self.network = fabric.setup_module(network)
        self.weights = [weight for weight in network.parameters() if weight.requires_grad]
        self.optimizer: torch.optim.Optimizer = work.optimizer(self.weights)
        self.task, self.clip = work.task, work.clip
        self.batch = fabric.to_device(work.batches[0])
        self.graph: torch.cuda.CUDAGraph | None = None
        self.is_captured = fabric.device.type == "cuda"

    def step(self) -> float:
        """Take a training step and return its loss; the first one captures."""
        if not self.is_captured:
            return float(self._eager())
        if self.graph is None:
            self.graph, self.loss = self._capture()
        self.graph.replay()
        return float(self.loss)

    def _eager(self) -> Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        loss, _ = self.task.loss(self.network, self.batch)
        self.fabric.backward(loss, inputs=self.weights)
        nn.utils.clip_grad_norm_(self.weights, self.clip)
        self.optimizer.step()
        return loss.detach()

    def _capture(self) -> tuple[torch.cuda.CUDAGraph, Tensor]:
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                self._eager()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            loss = self._eager()
        return graph, loss
