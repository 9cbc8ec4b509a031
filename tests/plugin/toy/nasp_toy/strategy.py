"""A bandit: a random path is tried on validation data, and its candidates are paid by the loss."""

from __future__ import annotations

from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field

from nasp import Architecture
from nasp.strategies import Problem, Registration


class BanditConfig(BaseModel):
    """Settings of the bandit.

    Attributes:
        lr: how far a candidate's alpha moves for each unit of loss.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    lr: float = Field(0.1, gt=0)


class Bandit:
    """Pays each candidate of a random path what its loss is below the mean of all losses so far.

    Args:
        problem: its seed fixes the paths.
        config: settings.
    """

    def __init__(self, problem: Problem, config: BanditConfig) -> None:
        self.supernet = problem.supernet
        self.learner = problem.learner
        self.lr = config.lr
        self.seed = problem.seed
        self.generator = torch.Generator().manual_seed(problem.seed)
        self.losses = 0.0
        self.tries = 0

    def arch_step(self, batch: Any) -> dict[str, float]:
        """Try a random path, and pay its candidates."""
        architecture = self._try_random_path()
        loss = self.learner.loss(batch)
        self.losses += loss
        self.tries += 1
        payment = self.lr * (self.losses / self.tries - loss)
        with torch.no_grad():
            for table in self.supernet.tables.values():
                for row, edge in enumerate(table.edges):
                    candidate = architecture[edge]
                    if candidate is not None:
                        column = table.candidates.index(candidate)
                        self.supernet.alphas[table.name][row, column] += payment
        return {"loss": loss}

    def weight_step(self, batch: Any) -> dict[str, float]:
        """Train the weights of a random path."""
        self._try_random_path()
        return self.learner.weight_step(batch)

    def derive(self) -> Architecture:
        """Return the candidates that are paid best."""
        ties = torch.Generator().manual_seed(self.seed)
        return self.supernet.architecture(self.supernet.discretise(self.supernet.alphas, ties))

    def state_dict(self) -> dict[str, Any]:
        """Return the random state and the mean of the losses; the alphas are the supernet's."""
        return {
            "generator": self.generator.get_state(),
            "losses": self.losses,
            "tries": self.tries,
            "seed": self.seed,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.generator.set_state(state["generator"])
        self.losses, self.tries, self.seed = state["losses"], state["tries"], state["seed"]

    def _try_random_path(self) -> Architecture:
        path = self.supernet.random_path(self.generator)
        self.supernet.single(path)
        return self.supernet.architecture(path)


TOY = Registration(BanditConfig, Bandit)
