"""SynFlow, a score without training.

Source: Tanaka et al., NeurIPS 2020, equation 1; for architectures Abdelfattah et al., ICLR 2021.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils import _pytree as pytree

from nasp.strategies.scored_sampling import Score, ScoredSampling, path_parameters
from nasp.strategies.strategy import Problem
from nasp.supernet.architecture import Architecture
from nasp.supernet.copies import copied
from nasp.supernet.supernet import Supernet
from nasp.training.batches import moved, one_example
from nasp.training.task import Batch, Task


class SynflowConfig(BaseModel):
    """Settings of SynFlow.

    Attributes:
        samples: how many random architectures are scored.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(200, ge=1)


def synflow(problem: Problem, config: SynflowConfig) -> ScoredSampling:
    """Return the strategy that ranks its samples by SynFlow.

    Args:
        problem: whose paths are scored.
        config: settings.
    """

    def scoring(batch: Batch) -> Score:
        return synflow_score(problem.supernet, problem.learner.task, batch)

    return ScoredSampling(problem, config.samples, scoring)


def synflow_score(supernet: Supernet, task: Task, batch: Batch) -> Score:
    """Return what scores an architecture: the logarithm of Σ |θ| ∂R/∂|θ| over its parameters θ.

    R is the sum of the network's outputs for one input of ones, with |θ| for θ and every
    BatchNorm an identity. All is computed in float64, on the CPU, on a copy.

    Args:
        supernet: left as it is.
        task: hands the batch to the network; its loss is not used.
        batch: its first example says the input's shape; of its tensors only those of floating
            point become ones.
    """
    positive = _positive(supernet)
    example = moved(one_example(batch), torch.device("cpu"))
    network = _OnOnes(positive)

    def score(architecture: Architecture) -> float:
        positive.single(positive.path(architecture))
        weights = list(dict.fromkeys(path_parameters(positive.network)))
        with suppress(_FlowedError):
            task.loss(network, example)
        if not network.flow.requires_grad:
            return -math.inf
        gradients = torch.autograd.grad(network.flow, weights, materialize_grads=True)
        flow = sum(float((w.detach() * g).sum()) for w, g in zip(weights, gradients, strict=True))
        return math.log(flow) if flow > 0 else -math.inf

    return score


def _positive(supernet: Supernet) -> Supernet:
    positive = copied(supernet).cpu().double().eval()
    for module in list(positive.modules()):
        for name, child in module.named_children():
            if isinstance(child, _BatchNorm):
                setattr(module, name, nn.Identity())
    with torch.no_grad():
        for parameter in positive.network.parameters():
            parameter.abs_().requires_grad_()
    return positive


class _FlowedError(Exception):
    """The network has run: no loss is wanted."""


class _OnOnes(nn.Module):
    """Runs a network on ones instead of its inputs, keeps the sum of its outputs, and stops."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.flow = torch.zeros(())

    def forward(self, *args: Any, **kwargs: Any) -> None:
        args, kwargs = pytree.tree_map_only(Tensor, _ones, (args, kwargs))
        outputs = self.network(*args, **kwargs)
        tensors = [leaf for leaf in pytree.tree_leaves(outputs) if isinstance(leaf, Tensor)]
        self.flow = torch.stack([tensor.sum() for tensor in tensors]).sum()
        raise _FlowedError


def _ones(tensor: Tensor) -> Tensor:
    is_input = tensor.is_floating_point()
    return torch.ones_like(tensor, dtype=torch.float64) if is_input else tensor
