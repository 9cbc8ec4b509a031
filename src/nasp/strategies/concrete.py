"""The concrete distribution (Maddison et al., Jang et al., ICLR 2017): choices, relaxed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from nasp.strategies.relaxation import AlphaAdam, Relaxation
from nasp.strategies.strategy import Horizon
from nasp.supernet.supernet import Alphas


class ConcreteConfig(AlphaAdam):
    """Settings of a strategy that draws from the concrete distribution.

    Attributes:
        temperature: in the first epoch.
        final_temperature: in the last; between them it falls by the same amount each epoch.
    """

    temperature: float = Field(gt=0)
    final_temperature: float = Field(gt=0)


class ConcreteSampler:
    """Draws relaxed one-hot rows, at a temperature that falls with the weight steps.

    Args:
        relaxation: has the alphas, and draws the noise.
        config: first and last temperature.
        horizon: lays out what lies between.

    Attributes:
        weight_steps: how many have been taken; the strategy counts them.
    """

    def __init__(self, relaxation: Relaxation, config: ConcreteConfig, horizon: Horizon) -> None:
        self.relaxation = relaxation
        self.config = config
        self.horizon = horizon
        self.weight_steps = 0

    @property
    def temperature(self) -> float:
        """The temperature of this epoch."""
        return self.horizon.anneal(
            self.config.temperature, self.config.final_temperature, self.weight_steps
        )

    def sample(self) -> Alphas:
        """Return a relaxed sample with a graph to the alphas."""
        relaxation = self.relaxation
        return concrete_sample(relaxation.supernet.alphas, self.temperature, relaxation.generator)

    def state_dict(self) -> dict[str, Any]:
        """Return the relaxation's state and the count of steps."""
        return {"relaxation": self.relaxation.state_dict(), "weight_steps": self.weight_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.relaxation.load_state_dict(state["relaxation"])
        self.weight_steps = state["weight_steps"]


def concrete_sample(
    alphas: Mapping[str, Tensor], temperature: float, generator: torch.Generator
) -> Alphas:
    """Return softmax((A + G) / τ), G of Gumbel noise.

    A row's largest entry is k with probability softmax(a)_k, whatever τ.

    Args:
        alphas: table -> ``[edges, candidates]``; the sample has a graph to them.
        temperature: τ > 0; the smaller, the nearer each row is to one-hot.
        generator: draws the noise, on the CPU, so that a seed means one sample on any device.
    """
    return {
        name: ((a + _gumbel(a, generator)) / temperature).softmax(dim=1)
        for name, a in alphas.items()
    }


def _gumbel(like: Tensor, generator: torch.Generator) -> Tensor:
    # In float64, whose smallest draw of an exponential, never quite 0, has a finite logarithm.
    waits = torch.empty(like.shape, dtype=torch.float64).exponential_(generator=generator)
    return -waits.clamp_min(torch.finfo(torch.float64).tiny).log().to(like)
