"""GDAS: one sampled candidate an edge, its gradient straight through (Dong and Yang, CVPR 2019)."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field

from nasp.strategies.concrete import ConcreteConfig, ConcreteSampler
from nasp.strategies.relaxation import Relaxation, softmax
from nasp.strategies.strategy import Problem
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Alphas
from nasp.training.task import Batch, Metrics


class GDASConfig(ConcreteConfig):
    """Settings of GDAS; the defaults are those of the authors' code."""

    temperature: float = Field(10.0, gt=0)
    final_temperature: float = Field(0.1, gt=0)


class GDAS:
    """Every step draws a path and runs it alone: cost and memory of one path, in both steps.

    The alphas' gradient is that of the sampled candidates alone, as in the paper.

    Args:
        problem: whose alphas are drawn anew, from N(0, 1e-3²); R is taken at the sample.
        config: settings.
    """

    def __init__(self, problem: Problem, config: GDASConfig) -> None:
        self.relaxation = Relaxation(problem, config)
        self.sampler = ConcreteSampler(self.relaxation, config, problem.horizon)

    def arch_step(self, batch: Batch) -> Metrics:
        """Move the alphas along the gradient through a sampled path."""
        weights, path = self.sample()
        return self.relaxation.arch_step(batch, weights, path)

    def weight_step(self, batch: Batch) -> Metrics:
        """Move the weights through another sampled path."""
        weights, path = self.sample()
        self.sampler.weight_steps += 1
        return self.relaxation.weight_step(batch, weights, path)

    def derive(self) -> Architecture:
        """Return each edge's most probable candidate, and each node's strongest edges.

        ``none`` is left out of both rankings wherever an edge has another candidate.
        """
        return self.relaxation.strongest(softmax(self.relaxation.supernet.alphas), with_none=False)

    def sample(self) -> tuple[Alphas, Alphas]:
        """Return h, one-hot, with the graph of the relaxed sample h̃; and h as a discrete point."""
        soft = self.sampler.sample()
        path = {
            name: torch.zeros_like(s).scatter_(1, s.argmax(dim=1, keepdim=True), 1.0)
            for name, s in soft.items()
        }
        hard = {name: path[name] - s.detach() + s for name, s in soft.items()}
        return hard, path

    def state_dict(self) -> dict[str, Any]:
        """Return the alphas' optimiser, the random state and the count of steps."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.sampler.load_state_dict(state)
