"""What the strategies that relax a choice to a weighted mixture of candidates have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from nasp.strategies.strategy import Problem
from nasp.supernet.architecture import Architecture
from nasp.supernet.leaves import Leaves
from nasp.supernet.path import Path
from nasp.supernet.supernet import Alphas
from nasp.training.task import Batch, Metrics

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
    """A strategy whose steps go through a mixture, its weights a function of the alphas.

    As it stands that is softmax(A), as in DARTS: what function it is, a sampled one or not, says
    `mixture`.

    Args:
        problem: whose alphas are drawn anew, from N(`MEAN`, `DEVIATION`²); R is taken at the
            mixture's weights.
        config: of the alphas' optimiser.
        others: more parameters that move with the alphas; default none.

    Attributes:
        weight_steps: how many have been taken.
    """

    MEAN: ClassVar[float] = 0.0
    DEVIATION: ClassVar[float] = 1e-3
    """That of DARTS's code, and of those that grew out of it."""
    DERIVES_NONE: ClassVar[bool] = False
    """Whether ``none`` may be derived as any other candidate."""

    def __init__(
        self, problem: Problem, config: AlphaAdam, others: Sequence[nn.Parameter] = ()
    ) -> None:
        self.problem = problem
        self.supernet = problem.supernet
        self.learner = problem.learner
        self.others = list(others)
        self.weight_steps = 0
        self.generator = torch.Generator().manual_seed(problem.seed)
        parameters = [*self.supernet.alphas.values(), *others]
        with torch.no_grad():
            for parameter in parameters:
                noise = torch.randn(parameter.shape, generator=self.generator)
                parameter.copy_(self.MEAN + self.DEVIATION * noise)
        self.optimizer = torch.optim.Adam(
            parameters,
            lr=config.lr or problem.horizon.step_size(config.AUTHORS_LR),
            betas=config.betas,
            weight_decay=config.weight_decay,
        )

    def mixture(self) -> tuple[Alphas, Path | None]:
        """Return the weights of this step's mixture, with a graph to the parameters.

        And the path that runs, where the others' weights are 0; None where all candidates run.
        """
        return softmax(self.supernet.alphas), None

    def strengths(self) -> Alphas:
        """Return by what the strongest candidates and edges are derived, not negative."""
        return softmax(self.supernet.alphas)

    def arch_step(self, batch: Batch) -> Metrics | None:
        """Move the alphas down F = L_val + η R, both taken at the mixture."""
        weights, path = self.mixture()
        leaves = self.relax(weights, path)
        metrics = self.learner.gradients(batch, leaves)
        self.descend(weights, leaves.gradients())
        return metrics

    def weight_step(self, batch: Batch) -> Metrics:
        """Move the network's weights through the mixture, on a batch of the training half."""
        with torch.no_grad():
            weights, path = self.mixture()
        self.weight_steps += 1
        self.supernet.mixture({name: w.detach() for name, w in weights.items()}, path)
        return self.learner.weight_step(batch)

    def derive(self) -> Architecture:
        """Return each edge's strongest candidate, and each node's strongest edges.

        An edge is as strong as its strongest candidate. Unless `DERIVES_NONE`, ``none`` is left
        out of both rankings wherever an edge has another candidate.
        """
        ranked = {name: strength.detach().clone() for name, strength in self.strengths().items()}
        for name, table in self.supernet.tables.items():
            if NONE in table.candidates and len(table.candidates) > 1 and not self.DERIVES_NONE:
                ranked[name][:, table.candidates.index(NONE)] = -1.0
        # A copy: deriving breaks ties alike each time, and moves nothing.
        generator = torch.Generator()
        generator.set_state(self.generator.get_state())
        return self.supernet.architecture(self.supernet.discretise(ranked, generator))

    def relax(self, weights: Alphas, path: Path | None = None) -> Leaves:
        """Begin an architecture step: return leaves that hold the weights of the mixture run."""
        # Leaves, for a batch in several parts goes backward through them several times.
        leaves = Leaves(weights, self.supernet.device)
        self.supernet.mixture(leaves.tables, path)
        return leaves

    def descend(self, weights: Alphas, of_loss: Mapping[str, Tensor]) -> None:
        """End it: move the parameters, given the loss's gradient by the mixture's weights."""
        self.optimizer.zero_grad(set_to_none=True)
        gradients = self.problem.gradients(weights, of_loss)
        if gradients is not None:
            torch.autograd.backward(list(weights.values()), [gradients[name] for name in weights])
            self.add_prior()
            self.optimizer.step()

    def add_prior(self) -> None:
        """Add to the parameters' gradient that of a term of theirs alone; there is none."""

    def state_dict(self) -> dict[str, Any]:
        """Return the parameters' optimiser, what breaks ties, and the count of steps."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "others": [parameter.detach().clone() for parameter in self.others],
            "weight_steps": self.weight_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        with torch.no_grad():
            for parameter, value in zip(self.others, state["others"], strict=True):
                parameter.copy_(value)
        self.weight_steps = state["weight_steps"]


def softmax(alphas: Mapping[str, Tensor]) -> Alphas:
    """Return the softmax of every row."""
    return {name: a.softmax(dim=1) for name, a in alphas.items()}
