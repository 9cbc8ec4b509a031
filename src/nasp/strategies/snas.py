"""SNAS: the alphas of a concrete distribution over candidates (Xie et al., ICLR 2019)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from nasp.architecture import Architecture
from nasp.complexity import Penalty
from nasp.learner import Learner
from nasp.strategies.concrete import concrete_sample
from nasp.strategies.relaxation import AlphaAdam, Relaxation, softmax
from nasp.strategies.strategy import Horizon
from nasp.supernet import Alphas, Supernet
from nasp.tasks.task import Batch, Metrics

MEAN, DEVIATION = 1.0, 0.01
"""Of the first alphas, which are normal (the authors' code)."""


class SNASConfig(AlphaAdam):
    """Settings of SNAS; the defaults are those of the authors' code.

    Attributes:
        temperature: λ in the first epoch.
        final_temperature: λ in the last; between them it falls by the same amount each epoch.
    """

    temperature: float = Field(1.0, gt=0)
    final_temperature: float = Field(0.03, gt=0)


class SNAS:
    """Every step draws a relaxed one-hot row for each edge, and runs all candidates by it.

    Args:
        supernet: its alphas, log α in the paper, are drawn anew, from N(1, 0.01²).
        learner: takes the gradients and the weight steps.
        config: settings.
        horizon: lays out the temperature.
        seed: fixes the first alphas, the samples, and how ties are broken in what is derived.
        penalty: η R, taken at the sample.
    """

    def __init__(
        self,
        supernet: Supernet,
        learner: Learner,
        config: SNASConfig,
        horizon: Horizon,
        seed: int,
        penalty: Penalty,
    ) -> None:
        self.config = config
        self.horizon = horizon
        self.relaxation = Relaxation(
            supernet, learner, config, seed, penalty, mean=MEAN, deviation=DEVIATION
        )
        self.weight_steps = 0

    def arch_step(self, batch: Batch) -> Metrics:
        """Move the alphas along the gradient through a sample (eq. 6)."""
        return self.relaxation.arch_step(batch, self.sample())

    def weight_step(self, batch: Batch) -> Metrics:
        """Move the weights through another sample."""
        sample = self.sample()
        self.weight_steps += 1
        return self.relaxation.weight_step(batch, sample)

    def derive(self) -> Architecture:
        """Return each edge's most probable candidate and each node's strongest edges.

        ``none`` counts as any other candidate.
        """
        return self.relaxation.strongest(softmax(self.relaxation.supernet.alphas), with_none=True)

    def sample(self) -> Alphas:
        """Return Z, z_k = softmax((log α_k + G_k) / λ) (eq. 5)."""
        temperature = self.horizon.anneal(
            self.config.temperature, self.config.final_temperature, self.weight_steps
        )
        relaxation = self.relaxation
        return concrete_sample(relaxation.supernet.alphas, temperature, relaxation.generator)

    def state_dict(self) -> dict[str, Any]:
        """Return the alphas' optimiser, the random state and the count of steps."""
        return {"relaxation": self.relaxation.state_dict(), "weight_steps": self.weight_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.relaxation.load_state_dict(state["relaxation"])
        self.weight_steps = state["weight_steps"]
