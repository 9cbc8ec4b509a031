"""The regulariser R(A) (NASP, AAAI 2020, Sec. 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor

Penalty = Callable[[Mapping[str, Tensor]], Tensor]
"""What the search adds to the validation loss: table -> ``[edges, candidates]`` ↦ a scalar.

Its weight is in it, and it has a graph to what it is given.
"""

Normalise = Literal["edge", "network"]
"""What p̄ is: the sum of an edge's costs (the paper), or its mean over all edges."""


class Regulariser:
    """η R(A), with R(A) = sum over edges, sum over k of (p_k / p̄) a_k².

    At a discrete point its gradient is 2 η p_k / p̄ for the chosen candidate, 0 for the others, and
    its value the sum of the chosen ones' `prices`.

    Args:
        costs: p_k, table -> ``[edges, candidates]``, not negative.
        weight: η; default 1.
        normalise: ``"edge"``: p̄ is the edge's sum of p_k, as in the paper, so that all edges
            weigh the same, and one whose candidates all cost nothing adds nothing.
            ``"network"``: p̄ is the mean of these sums, so that an edge weighs what it costs.
    """

    def __init__(
        self,
        costs: Mapping[str, Tensor],
        weight: float = 1.0,
        normalise: Normalise = "edge",
    ) -> None:
        self.weight = weight
        sums = {name: cost.sum(dim=1, keepdim=True) for name, cost in costs.items()}
        if normalise == "network":
            mean = torch.cat(list(sums.values())).mean()
            sums = {name: mean.expand_as(each) for name, each in sums.items()}
        self.shares = {
            name: cost / sums[name].clamp_min(torch.finfo(cost.dtype).tiny)
            for name, cost in costs.items()
        }

    def __call__(self, alphas: Mapping[str, Tensor]) -> Tensor:
        """Return η R(A), a scalar with a graph to `alphas`."""
        terms = [(share * alphas[name] ** 2).sum() for name, share in self.shares.items()]
        return self.weight * torch.stack(terms).sum()

    def prices(self) -> dict[str, Tensor]:
        """Return what each candidate adds to it where it is chosen: η p_k / p̄."""
        return {name: self.weight * share for name, share in self.shares.items()}
