"""SNAS: the alphas of a concrete distribution over candidates (Xie et al., ICLR 2019)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from nasp.strategies.concrete import ConcreteConfig, ConcreteSampler
from nasp.strategies.relaxation import Relaxation, softmax
from nasp.strategies.strategy import Problem
from nasp.supernet.architecture import Architecture
from nasp.training.task import Batch, Metrics

MEAN, DEVIATION = 1.0, 0.01
"""Of the first alphas, which are normal (the authors' code)."""


class SNASConfig(ConcreteConfig):
    """Settings of SNAS; the defaults are those of the authors' code."""

    temperature: float = Field(1.0, gt=0)
    final_temperature: float = Field(0.03, gt=0)


class SNAS:
    """Every step draws a relaxed one-hot row for each edge, and runs all candidates by it.

    Args:
        problem: whose alphas, log α in the paper, are drawn anew, from N(1, 0.01²); R is taken at
            the sample.
        config: settings.
    """

    def __init__(self, problem: Problem, config: SNASConfig) -> None:
        self.relaxation = Relaxation(problem, config, mean=MEAN, deviation=DEVIATION)
        self.sampler = ConcreteSampler(self.relaxation, config, problem.horizon)

    def arch_step(self, batch: Batch) -> Metrics:
        """Move the alphas along the gradient through z_k = softmax((log α_k + G_k) / λ)."""
        return self.relaxation.arch_step(batch, self.sampler.sample())

    def weight_step(self, batch: Batch) -> Metrics:
        """Move the weights through another sample."""
        sample = self.sampler.sample()
        self.sampler.weight_steps += 1
        return self.relaxation.weight_step(batch, sample)

    def derive(self) -> Architecture:
        """Return each edge's most probable candidate and each node's strongest edges.

        ``none`` counts as any other candidate.
        """
        return self.relaxation.strongest(softmax(self.relaxation.supernet.alphas), with_none=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the alphas' optimiser, the random state and the count of steps."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.sampler.load_state_dict(state)
