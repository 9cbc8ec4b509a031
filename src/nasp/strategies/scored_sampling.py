"""Many random architectures, each scored once without any training, the best first."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import nn

from nasp.strategies.random_search import draw
from nasp.strategies.strategy import Problem
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice, Single
from nasp.training.task import Batch, Metrics

Score = Callable[[Architecture], float]


class ScoredSampling:
    """Ranks its samples in a single architecture step.

    Args:
        problem: whose weights and alphas rest: of weight steps the loop takes none.
        samples: how many architectures are drawn, uniformly and distinct.
        scoring: from a batch to the score of an architecture; larger is better.
        besides: architectures that are scored beside those drawn.
    """

    def __init__(
        self,
        problem: Problem,
        samples: int,
        scoring: Callable[[Batch], Score],
        besides: Sequence[Architecture] = (),
    ) -> None:
        self.supernet = problem.supernet
        self.learner = problem.learner
        self.scoring = scoring
        drawn = draw(problem.supernet, samples, problem.seed)
        self.ranked = list(dict.fromkeys([*besides, *drawn]))

    def arch_step(self, batch: Batch) -> Metrics:
        """Score all samples and rank them; return the best score."""
        score = self.scoring(batch)
        scores = {architecture: score(architecture) for architecture in self.ranked}
        self.ranked.sort(key=lambda architecture: -scores[architecture])
        return {"score": scores[self.ranked[0]]}

    def weight_step(self, batch: Batch) -> Metrics:
        """Train the best sample's weights."""
        self.supernet.single(self.supernet.path(self.derive()))
        return self.learner.weight_step(batch)

    def derive(self) -> Architecture:
        """Return the best sample; before the architecture step, the first."""
        return self.ranked[0]

    def propose(self, count: int) -> list[Architecture]:
        """Return the best `count` samples."""
        return self.ranked[:count]

    def state_dict(self) -> dict[str, Any]:
        """Return the samples in their order."""
        return {"ranked": [dict(architecture.edges) for architecture in self.ranked]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.ranked = [Architecture(edges, self.supernet.space) for edges in state["ranked"]]


def path_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    """Yield the parameters that a supernet's network has on the single path it is set to.

    A parameter that several modules share comes once for each.
    """
    if isinstance(module, Choice):
        if isinstance(module.run, Single) and module.run.candidate is not None:
            yield from path_parameters(module.operations[module.run.candidate])
        return
    yield from module.parameters(recurse=False)
    for child in module.children():
        yield from path_parameters(child)
