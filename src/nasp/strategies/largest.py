"""The largest network: what a user would try first where parameters are no concern."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from nasp.complexity import parameter_counts
from nasp.strategies.scored_sampling import ScoredSampling, path_parameters
from nasp.strategies.strategy import Problem
from nasp.supernet.architecture import Architecture


class LargestConfig(BaseModel):
    """Settings of the search for the largest network.

    Attributes:
        samples: how many random architectures are counted beside the largest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(500, ge=1)


def largest(problem: Problem, config: LargestConfig) -> ScoredSampling:
    """Return the strategy that ranks by the number of parameters.

    The largest of all comes first: on every edge the largest candidate, of every node group the
    largest edges. Then come the samples.

    Args:
        problem: whose paths are counted.
        config: settings.
    """
    supernet = problem.supernet

    def count(architecture: Architecture) -> float:
        supernet.single(supernet.path(architecture))
        weights = set(path_parameters(supernet.network))
        return float(sum(weight.numel() for weight in weights))

    first = supernet.architecture(supernet.discretise(parameter_counts(supernet)))
    return ScoredSampling(problem, config.samples, lambda _: count, [first])
