"""The largest network: what a user would try first where parameters are no concern."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from nasp.architecture import Architecture
from nasp.complexity import Penalty, parameter_counts
from nasp.learner import Learner
from nasp.strategies.scored_sampling import ScoredSampling, path_parameters
from nasp.strategies.strategy import Horizon
from nasp.supernet import Supernet


class LargestConfig(BaseModel):
    """Settings of the search for the largest network.

    Attributes:
        samples: how many random architectures are counted beside the largest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(500, ge=1)


def largest(
    supernet: Supernet,
    learner: Learner,
    config: LargestConfig,
    horizon: Horizon,
    seed: int,
    penalty: Penalty,
) -> ScoredSampling:
    """Return the strategy that ranks by the number of parameters.

    The largest of all comes first: on every edge the largest candidate, of every node group the
    largest edges. Then come the samples.

    Args:
        supernet: whose paths are counted.
        learner: handed on.
        config: settings.
        horizon: not needed.
        seed: fixes the samples.
        penalty: not needed.
    """
    del horizon, penalty

    def count(architecture: Architecture) -> float:
        supernet.single(supernet.path(architecture))
        weights = set(path_parameters(supernet.network))
        return float(sum(weight.numel() for weight in weights))

    first = supernet.architecture(supernet.discretise(parameter_counts(supernet)))
    return ScoredSampling(supernet, learner, config.samples, seed, lambda _: count, [first])
