"""The concrete distribution (Maddison et al., Jang et al., ICLR 2017): choices, relaxed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

from nasp.strategies.relaxation import AlphaAdam, Relaxation
from nasp.strategies.strategy import Problem
from nasp.supernet.path import Path
from nasp.supernet.supernet import Alphas


class ConcreteConfig(AlphaAdam):
    """Settings of a strategy that draws from the concrete distribution.

    Attributes:
        temperature: in the first epoch.
        final_temperature: in the last; between them it falls by the same amount each epoch.
    """

    temperature: float = Field(gt=0)
    final_temperature: float = Field(gt=0)


class Concrete(Relaxation):
    """A strategy that draws relaxed one-hot rows, at a temperature that falls by weight steps.

    Args:
        problem: whose alphas are drawn anew; R is taken at the sample.
        config: settings.
    """

    def __init__(self, problem: Problem, config: ConcreteConfig) -> None:
        super().__init__(problem, config)
        self.ends = config.temperature, config.final_temperature

    @property
    def temperature(self) -> float:
        """The temperature of this epoch."""
        return self.problem.horizon.anneal(*self.ends, self.weight_steps)

    def mixture(self) -> tuple[Alphas, Path | None]:
        """Return a relaxed sample with a graph to the alphas."""
        return concrete_sample(self.supernet.alphas, self.temperature, self.generator), None


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
