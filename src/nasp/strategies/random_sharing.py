"""Random search with shared weights (Li and Talwalkar, UAI 2019).

The supernet is trained on uniformly random paths; of uniformly drawn architectures the best by
its weights, on validation batches, is the result: the selection does that part.
"""

from __future__ import annotations

from typing import Any

import torch

from nasp.strategies.random_search import RandomConfig, draw
from nasp.strategies.strategy import Problem
from nasp.supernet.architecture import Architecture
from nasp.training.task import Batch, Metrics


class RandomSharing:
    """Trains one random path a step.

    Args:
        problem: its seed fixes the paths, and what is proposed; the alphas rest.
        config: not needed.
    """

    def __init__(self, problem: Problem, config: RandomConfig) -> None:
        del config
        self.supernet = problem.supernet
        self.learner = problem.learner
        self.generator = torch.Generator().manual_seed(problem.seed)
        # Another seed than the paths': what is proposed must not be what was trained first.
        self.proposal_seed = int(torch.randint(2**31, (), generator=self.generator))
        self.first = self.propose(1)[0]

    def arch_step(self, batch: Batch) -> None:
        """Move nothing."""

    def weight_step(self, batch: Batch) -> Metrics:
        """Move the weights of a uniformly random path."""
        self.supernet.single(self.supernet.random_path(self.generator))
        return self.learner.weight_step(batch)

    def derive(self) -> Architecture:
        """Return the first architecture of what is proposed."""
        return self.first

    def propose(self, count: int) -> list[Architecture]:
        """Return `count` distinct, uniformly drawn architectures, or as many as there are."""
        return draw(self.supernet, count, self.proposal_seed)

    def state_dict(self) -> dict[str, Any]:
        """Return the random state and the seed of the proposals."""
        return {"generator": self.generator.get_state(), "proposal_seed": self.proposal_seed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.generator.set_state(state["generator"])
        self.proposal_seed = state["proposal_seed"]
        self.first = self.propose(1)[0]
