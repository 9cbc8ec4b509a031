"""The concrete distribution (Maddison et al., Jang et al., ICLR 2017): choices, relaxed."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from nasp.supernet import Alphas


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
