"""Does the search know? Whether its supernet has come far enough to see what size is worth.

While a supernet is far from trained, its signals favour candidates with few weights, which are
trained first. So what a search says of networks' sizes tells how far it has come; measured on
tables of trained cells in docs/results.
"""

from __future__ import annotations

import torch
from torch import Tensor

from nasp.complexity import parameter_table
from nasp.supernet.supernet import Alphas, Supernet

PATHS = 256
"""Uniformly drawn, the same in every epoch and every search of a network."""
DIGITS = 9
"""Of sums of scores, which are about 1."""
AGREED = 0.5
"""Below this the halves of a search share less than a quarter of what they say."""
SEEN = 0.25
"""Below this searches ranked the cells of three tables with a Kendall's tau of 0.20 ± 0.17, from it
on of 0.39 ± 0.12: 93 moments of 19 searches, see docs/results."""


def knows(agreement: float | None, size_tau: float | None) -> bool | None:
    """Return whether a search knows which architectures are good; None: that cannot be told.

    Args:
        agreement: of the halves of its averaged steps, see `Health`.
        size_tau: see `SizeRank`.
    """
    if agreement is None:
        return None
    if agreement < AGREED:
        return False
    return None if size_tau is None else size_tau >= SEEN


def doubt(agreement: float | None, size_tau: float | None) -> str:
    """Return why a search does not know; the arguments are those of `knows`."""
    if agreement is not None and agreement < AGREED:
        return (
            "the two halves of its averaged steps rank architectures unlike"
            f" (correlation {agreement:.2f})"
        )
    return (
        "its supernet does not yet see what size is worth"
        f" (Kendall's tau {size_tau:.2f} with the number of parameters, below {SEEN})"
    )


class SizeRank:
    """How a search ranks paths beside their number of parameters.

    Args:
        supernet: whose paths are drawn and counted; left as it is.
    """

    def __init__(self, supernet: Supernet) -> None:
        generator = torch.Generator().manual_seed(0)
        self._paths = [supernet.random_path(generator) for _ in range(PATHS)]
        table = parameter_table(supernet)
        self._sizes = torch.tensor([table.of(path) for path in self._paths], dtype=torch.float64)

    def __call__(self, scores: Alphas) -> float | None:
        """Return Kendall's τ-b of the paths' sums of scores and their numbers of parameters.

        Args:
            scores: table -> ``[edges, candidates]``.

        Returns:
            -1, the smaller the better, to 1; None where all paths are of one size, or one score.
        """
        rows = [row.tolist() for table in scores.values() for row in table.detach().double()]
        # Rounded, so that what is equal but for the order of a sum is equal.
        sums = (
            round(sum(row[k] for row, k in zip(rows, path, strict=True) if k is not None), DIGITS)
            for path in self._paths
        )
        return kendall(torch.tensor(list(sums), dtype=torch.float64), self._sizes)


def kendall(first: Tensor, second: Tensor) -> float | None:
    """Return Kendall's τ-b, which heeds ties; None where one of the two ranks nothing.

    Args:
        first: ``[N]``.
        second: ``[N]``.
    """
    signs = [torch.sign(each[:, None] - each[None, :]) for each in (first, second)]
    untied = float(signs[0].square().sum()) * float(signs[1].square().sum())
    return float((signs[0] * signs[1]).sum()) / untied**0.5 if untied > 0 else None
