"""What each candidate operation costs, and the regulariser R(A) (NASP, AAAI 2020, Sec. 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from nasp.supernet import Supernet

Penalty = Callable[[Mapping[str, Tensor]], Tensor]
"""What the search adds to the validation loss: table -> ``[edges, candidates]`` ↦ a scalar.

Its weight is in it, and it has a graph to what it is given.
"""


def parameter_count(module: nn.Module) -> int:
    """Return how many parameters a module has."""
    return sum(parameter.numel() for parameter in module.parameters())


def parameter_counts(supernet: Supernet) -> dict[str, Tensor]:
    """Return p_k: the parameters of every candidate, summed over the edges that share a row.

    Returns:
        Table -> ``[edges, candidates]``, on the alphas' device, in their dtype.
    """
    counts = {name: torch.zeros_like(a.detach()) for name, a in supernet.alphas.items()}
    for table, row, choices in supernet.choices():
        for choice in choices:
            sizes = [parameter_count(operation) for operation in choice.operations]
            counts[table][row] += counts[table].new_tensor(sizes)
    return counts


class Regulariser:
    """η R(A), R(A) = sum over edges, sum over k of (p_k / p̄) a_k², with p̄ the edge's sum of p_k.

    Args:
        costs: p_k, table -> ``[edges, candidates]``, not negative. An edge whose candidates all
            cost nothing adds nothing.
        weight: η; default 1.
    """

    def __init__(self, costs: Mapping[str, Tensor], weight: float = 1.0) -> None:
        self.weight = weight
        self.shares = {
            name: cost / cost.sum(dim=1, keepdim=True).clamp_min(torch.finfo(cost.dtype).tiny)
            for name, cost in costs.items()
        }

    def __call__(self, alphas: Mapping[str, Tensor]) -> Tensor:
        """Return η R(A), a scalar with a graph to `alphas`."""
        terms = [(share * alphas[name] ** 2).sum() for name, share in self.shares.items()]
        return self.weight * torch.stack(terms).sum()
