"""The one small protocol behind which every search algorithm stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from nasp.complexity import Penalty
from nasp.strategies.average import Average
from nasp.supernet.architecture import Architecture
from nasp.supernet.path import Path
from nasp.supernet.supernet import Alphas, Supernet
from nasp.training.learner import Learner, gradient_of
from nasp.training.task import Batch, Metrics
from nasp.training.unread import NotFiniteError

AUTHORS_STEPS = 50 * 390
"""Architecture steps of NASP's and DARTS's authors' CIFAR-10 search: epochs, steps an epoch."""
LARGEST_STEP = 0.02
"""The longest step that `Horizon.step_size` gives, to however short a search."""


@dataclass(frozen=True)
class Horizon:
    """How long the search will be: what schedules are laid out over."""

    epochs: int
    steps_per_epoch: int

    def epoch(self, steps: int) -> int:
        """Return which epoch is under way after so many steps, counted from 0."""
        return min(steps // self.steps_per_epoch, self.epochs - 1)

    def anneal(self, start: float, end: float, steps: int) -> float:
        """Return a value that goes from `start` in the first epoch to `end` in the last.

        It stands still within an epoch and moves as far between any two that follow.
        """
        return start + (end - start) * self.epoch(steps) / max(self.epochs - 1, 1)

    def step_size(self, authors: float) -> float:
        """Return the alphas' step size by which they can travel as far in all as at the authors'.

        Args:
            authors: the step size in a search of `AUTHORS_STEPS`.
        """
        return min(LARGEST_STEP, authors * AUTHORS_STEPS / (self.epochs * self.steps_per_epoch))


@dataclass(frozen=True)
class Problem:
    """What every strategy works on: min F(w, A) over A, w = argmin L_train(w, A).

    Attributes:
        supernet: has the alphas A, and is told how its edges are run.
        learner: has the weights w; takes their steps, and the gradients of the loss.
        horizon: how long the search will be.
        seed: fixes what is drawn, and how ties are broken.
        penalty: η R, which F adds to L_val, and what bounds add.
        prices: what η R adds for each candidate that is chosen; default nothing.
    """

    supernet: Supernet
    learner: Learner
    horizon: Horizon
    seed: int
    penalty: Penalty
    prices: Alphas = field(default_factory=dict)

    def gradients(self, at: Alphas, of_loss: Mapping[str, Tensor]) -> Alphas | None:
        """Return the gradient of F = L_val + η R by the weights that candidates are run with.

        Args:
            at: these weights, table -> ``[edges, candidates]``, on the CPU.
            of_loss: the gradient of L_val there, as the last `Learner.gradients` gave it.

        Returns:
            On the CPU. None where a loss scale overflowed: then no step is due.

        Raises:
            NotFiniteError: a gradient is not finite; its candidate and edge are named.
        """
        unscaled = self._unscaled(of_loss)
        return None if unscaled is None else self._penalised(at, unscaled)

    def step(
        self, optimizer: torch.optim.Optimizer, path: Path, of_loss: Mapping[str, Tensor]
    ) -> Alphas | None:
        """Move the alphas by the gradient of F at a discrete point Ā: A ← A − ε ∇_Ā F(w, Ā).

        Args:
            optimizer: of the alphas; its step size is ε.
            path: Ā.
            of_loss: the gradient of L_val there.

        Returns:
            The gradient of L_val, without a scale; None where that overflowed: nothing has moved.
        """
        unscaled = self._unscaled(of_loss)
        if unscaled is not None:
            gradients = self._penalised(self.supernet.one_hot(path), unscaled)
            for name, a in self.supernet.alphas.items():
                a.grad = gradients[name]
            optimizer.step()
        return unscaled

    def _unscaled(self, of_loss: Mapping[str, Tensor]) -> Alphas | None:
        gradients = self.learner.unscaled(of_loss)
        self._refuse_not_finite(gradients or {})
        return gradients

    def _penalised(self, at: Alphas, of_loss: Alphas) -> Alphas:
        leaves = {name: point.detach().requires_grad_() for name, point in at.items()}
        penalty = self.penalty(leaves)
        if not penalty.requires_grad:
            return of_loss
        penalty.backward()  # type: ignore[no-untyped-call]
        return {name: gradient_of(leaf) + of_loss[name] for name, leaf in leaves.items()}

    def _refuse_not_finite(self, gradients: Mapping[str, Tensor]) -> None:
        for name, gradient in gradients.items():
            for row, k in (~gradient.isfinite()).nonzero().tolist():
                table = self.supernet.tables[name]
                what = f"candidate '{table.candidates[k]}' on edge '{table.edges[row]}'"
                if not (gradient[row].isfinite() & (gradient[row] != 0)).any():
                    what = f"the candidates on edge '{table.edges[row]}'"  # not one's own fault
                raise NotFiniteError(
                    f"The gradient of {what} is not finite, so no alpha has moved: lower the"
                    " learning rate, or keep what the network computes there finite."
                )


class Strategy(Protocol):
    """One search algorithm: how edges are run, how the alphas and the weights move.

    A strategy is made of a problem and its settings; the loop calls the two steps in turn, each on
    batches of its own half of the data, and never asks which strategy it has.
    """

    def arch_step(self, batch: Batch) -> Metrics | None:
        """Move the alphas on a validation batch; None where this step moves nothing."""
        ...

    def weight_step(self, batch: Batch) -> Metrics:
        """Move the weights on a training batch."""
        ...

    def derive(self) -> Architecture:
        """Return the architecture as it now stands."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return everything the strategy will need to go on to the same bits."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        ...


@runtime_checkable
class Probes(Protocol):
    """What a strategy adds whose architecture steps may be probed passes."""

    @property
    def probes(self) -> bool:
        """Whether they are, as it is set."""
        ...


@runtime_checkable
class Rests(Protocol):
    """What a strategy adds that takes several weight steps to an architecture step."""

    @property
    def rests(self) -> bool:
        """Whether no architecture step is due now, so that it needs no validation batch."""
        ...


@runtime_checkable
class Proposes(Protocol):
    """What a strategy adds whose candidates are not those that the search came by."""

    def propose(self, count: int) -> list[Architecture]:
        """Return `count` distinct architectures, the most promising first; fewer if need be."""
        ...


@runtime_checkable
class Averages(Protocol):
    """What a strategy adds whose result is not where it stands, but an average of where it was.

    Attributes:
        path: where it stands.
        average: None where its settings leave it out: then what is derived is where it stands.
    """

    path: Path
    average: Average | None


def current_architecture(strategy: Strategy, supernet: Supernet) -> Architecture:
    """Return where a strategy stands; what it would keep may be an average of such points."""
    if isinstance(strategy, Averages) and strategy.average is not None:
        return supernet.architecture(strategy.path)
    return strategy.derive()
