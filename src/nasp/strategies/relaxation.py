"""What the strategies that relax a choice to a weighted mixture of candidates have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from nasp.strategies.strategy import Problem
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Alphas
from nasp.training.learner import gradient_of
from nasp.training.task import Batch, Metrics

START = 1e-3
"""Standard deviation of the first alphas, in DARTS's code and in those that grew out of it."""
NONE = "none"
"""The candidate that cuts an edge, which some strategies search with and never derive."""


class AlphaAdam(BaseModel):
    """Settings of the alphas' optimiser; the defaults are those of DARTS's authors' code.

    Attributes:
        lr: the alphas' step size (Adam); None: that of the authors, `AUTHORS_LR`, where the search
            is as long as theirs, and so much more where it is shorter (`Horizon.step_size`).
        betas: Adam's, for the alphas.
        weight_decay: on the alphas.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    AUTHORS_LR: ClassVar[float] = 3e-4

    lr: float | None = Field(None, gt=0)
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = Field(1e-3, ge=0)


class Relaxation:
    """Steps through a mixture whose weights are a differentiable function of the alphas.

    What function that is, a sampled one or not, is the strategy's.

    Args:
        problem: whose alphas are drawn anew; R is taken at the mixture's weights.
        config: of the alphas' optimiser.
        mean: of the first alphas; default 0.
        deviation: of the first alphas; default 1e-3.
        others: more parameters that move with the alphas; default none.
    """

    def __init__(
        self,
        problem: Problem,
        config: AlphaAdam,
        mean: float = 0.0,
        deviation: float = START,
        others: Sequence[nn.Parameter] = (),
    ) -> None:
        self.supernet = problem.supernet
        self.learner = problem.learner
        self.penalty = problem.penalty
        self.generator = torch.Generator().manual_seed(problem.seed)
        self.parameters = [*self.supernet.alphas.values(), *others]
        with torch.no_grad():
            for parameter in self.parameters:
                noise = torch.randn(parameter.shape, generator=self.generator)
                parameter.copy_(mean + deviation * noise)
        self.optimizer = torch.optim.Adam(
            self.parameters,
            lr=config.lr or problem.horizon.step_size(config.AUTHORS_LR),
            betas=config.betas,
            weight_decay=config.weight_decay,
        )
        self._stepper = self.learner.fit_precision(self.optimizer)

    def arch_step(
        self,
        batch: Batch,
        weights: Alphas,
        support: Mapping[str, Tensor] | None = None,
        prior: Callable[[], Tensor] | None = None,
    ) -> Metrics:
        """Move the alphas down the batch's loss and the penalty, both taken at the mixture.

        Args:
            batch: of the validation half.
            weights: table -> ``[edges, candidates]``, with a graph to the parameters.
            support: which candidates run; default all.
            prior: a term of the parameters alone, added to the loss; default none.
        """
        leaves = self.relax(weights, support)
        if prior is None:
            metrics = self.learner.gradients(
                batch, list(leaves.values()), lambda: self.penalty(leaves)
            )
        else:
            metrics = self.learner.gradients(
                batch,
                [*leaves.values(), *self.parameters],
                lambda: self.penalty(leaves) + prior(),
            )
        self.descend(weights, {name: gradient_of(leaf) for name, leaf in leaves.items()})
        return metrics

    def weight_step(
        self, batch: Batch, weights: Alphas, support: Mapping[str, Tensor] | None = None
    ) -> Metrics:
        """Move the network's weights through the mixture, on a batch of the training half."""
        self.supernet.mixture({name: w.detach() for name, w in weights.items()}, support)
        return self.learner.weight_step(batch)

    def relax(self, weights: Alphas, support: Mapping[str, Tensor] | None = None) -> Alphas:
        """Begin an architecture step: return leaves that hold the weights of the mixture run."""
        self.optimizer.zero_grad(set_to_none=True)
        # Leaves, for a batch in several parts goes backward through them several times.
        leaves = {name: w.detach().requires_grad_() for name, w in weights.items()}
        self.supernet.mixture(leaves, support)
        return leaves

    def descend(self, weights: Alphas, gradients: Mapping[str, Tensor]) -> None:
        """End it: move the parameters, given the loss's gradient by the mixture's weights."""
        torch.autograd.backward(list(weights.values()), [gradients[name] for name in weights])
        self._stepper.step()

    def strongest(self, strengths: Mapping[str, Tensor], with_none: bool) -> Architecture:
        """Return each edge's strongest candidate, and each node's strongest edges.

        An edge is as strong as its strongest candidate.

        Args:
            strengths: table -> ``[edges, candidates]``, not negative.
            with_none: whether ``none`` counts; else it is left out of both rankings wherever an
                edge has another candidate.
        """
        ranked = {name: strength.detach().clone() for name, strength in strengths.items()}
        for name, table in self.supernet.tables.items():
            if NONE in table.candidates and len(table.candidates) > 1 and not with_none:
                ranked[name][:, table.candidates.index(NONE)] = -1.0
        # A copy: deriving breaks ties alike each time, and moves nothing.
        generator = torch.Generator()
        generator.set_state(self.generator.get_state())
        return self.supernet.architecture(self.supernet.discretise(ranked, generator))

    def state_dict(self) -> dict[str, Any]:
        """Return the parameters' optimiser and the random state."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])


def softmax(alphas: Mapping[str, Tensor]) -> Alphas:
    """Return the softmax of every row."""
    return {name: a.softmax(dim=1) for name, a in alphas.items()}
