"""SNAS: the alphas of a concrete distribution over candidates (Xie et al., ICLR 2019)."""

from __future__ import annotations

from pydantic import Field

from nasp.strategies.concrete import Concrete, ConcreteConfig


class SNASConfig(ConcreteConfig):
    """Settings of SNAS; the defaults are those of the authors' code."""

    temperature: float = Field(1.0, gt=0)
    final_temperature: float = Field(0.03, gt=0)


class SNAS(Concrete):
    """Every step draws a relaxed one-hot row for each edge, and runs all candidates by it.

    z_k = softmax((log α_k + G_k) / λ), anew for the alphas' step and for the weights'. Derived are
    each edge's most probable candidate and each node's strongest edges, ``none`` like any other.

    Args:
        problem: whose alphas, log α in the paper, are drawn anew, from N(1, 0.01²), as in the
            authors' code; R is taken at the sample.
        config: settings.
    """

    MEAN = 1.0
    DEVIATION = 0.01
    DERIVES_NONE = True
