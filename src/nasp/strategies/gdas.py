"""GDAS: one sampled candidate an edge, its gradient straight through (Dong and Yang, CVPR 2019)."""

from __future__ import annotations

import torch
from pydantic import Field

from nasp.strategies.concrete import Concrete, ConcreteConfig
from nasp.supernet.path import Path
from nasp.supernet.supernet import Alphas


class GDASConfig(ConcreteConfig):
    """Settings of GDAS; the defaults are those of the authors' code."""

    temperature: float = Field(10.0, gt=0)
    final_temperature: float = Field(0.1, gt=0)


class GDAS(Concrete):
    """Every step draws a path and runs it alone: cost and memory of one path, in both steps.

    The alphas' gradient is that of the sampled candidates alone, as in the paper. Derived are each
    edge's most probable candidate and each node's strongest edges, without ``none``.

    Args:
        problem: whose alphas are drawn anew, from N(0, 1e-3²); R is taken at the sample.
        config: settings.
    """

    def mixture(self) -> tuple[Alphas, Path | None]:
        """Return h, one-hot, with the graph of the relaxed sample h̃; and h as a path."""
        soft, _ = super().mixture()
        path: Path = tuple(torch.cat([s.argmax(dim=1) for s in soft.values()]).tolist())
        point = self.supernet.one_hot(path)
        return {name: point[name] - s.detach() + s for name, s in soft.items()}, path
