"""DARTS, second order: the alphas' gradient looks one weight step ahead (Liu et al., ICLR 2019).

The protocol hands a validation batch to the architecture step and a training batch to the weight
step after it. The training batch that is looked ahead with is therefore the last weight step's,
where the authors' code takes that of the weight step to come; the first architecture step, which
has none, moves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nasp.errors import UsageError
from nasp.strategies.darts import DARTS, DARTSConfig
from nasp.strategies.strategy import Problem
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Alphas
from nasp.training.learner import gradient_of
from nasp.training.task import Batch, Metrics

RADIUS = 0.01
"""How far the finite difference reaches, in weight space: ε = 0.01 / ‖∇_w' L_val‖."""


class DARTSSecondOrder:
    """Algorithm 1 of the paper with ξ the weights' learning rate.

    Each step runs five passes of the whole mixture, where first order runs two. BatchNorm's
    running statistics are what these passes make them; the weights come back to the bit.

    Args:
        problem: whose alphas are drawn anew, from N(0, 1e-3²); R is taken at softmax(A). The
            weights' optimiser must be SGD, whose step is the one that is looked ahead.
        config: settings.

    Raises:
        UsageError: another optimiser, or a precision whose gradients are scaled.
    """

    def __init__(self, problem: Problem, config: DARTSConfig) -> None:
        learner = problem.learner
        if not isinstance(learner.optimizer, torch.optim.SGD):
            raise UsageError(
                "Strategy 'darts-second-order' looks one step of SGD ahead, but the weights'"
                f" optimiser is {type(learner.optimizer).__name__}: use torch.optim.SGD."
            )
        if getattr(learner.fabric.strategy.precision, "scaler", None) is not None:
            raise UsageError(
                "Strategy 'darts-second-order' needs gradients that are not scaled: use"
                " precision bf16-mixed or 32-true instead of 16-mixed."
            )
        self.first_order = DARTS(problem, config)
        self.learner = problem.learner
        self.training_batch: Batch | None = None

    def arch_step(self, batch: Batch) -> Metrics | None:
        """Move the alphas along ∇_A [L_val(w − ξ ∇_w L_train(w, A), A) + η R] (eq. 6).

        None before the first weight step.
        """
        if self.training_batch is None:
            return None
        relaxation = self.first_order.relaxation
        relaxed = self.first_order.mixture()
        mixture = relaxation.relax(relaxed)
        with restored(self.learner.weights) as weights:
            reach = self._look_ahead(weights)
            # ∇_A' and ∇_w' of L_val(w', A) in one pass
            _clear([*weights, *mixture.values()])
            metrics = self.learner.gradients(
                batch, [*mixture.values(), *weights], lambda: relaxation.penalty(mixture)
            )
            direct = {name: gradient_of(p).clone() for name, p in mixture.items()}
            direction = [gradient_of(w).clone() for w in weights]
        # eq. 7:  ∇_A L_val(w', A) − ξ ∇²_{A,w} L_train(w, A) ∇_w' L_val(w', A)
        implicit = self._hessian_product(mixture, direction)
        gradients = {name: direct[name] - reach * implicit[name] for name in direct}
        relaxation.descend(relaxed, gradients)
        _clear(self.learner.weights)
        return metrics

    def weight_step(self, batch: Batch) -> Metrics:
        """Move the weights through the mixture: w ← w − γ ∇_w L_train(w, A)."""
        self.training_batch = batch
        return self.first_order.weight_step(batch)

    def derive(self) -> Architecture:
        """Return the strongest candidates and edges, as first order does."""
        return self.first_order.derive()

    def state_dict(self) -> dict[str, Any]:
        """Return first order's state and the training batch."""
        # Clones, for a batch that is a view would bring the whole data set along.
        batch = pytree.tree_map_only(Tensor, torch.clone, self.training_batch)
        return {"first_order": self.first_order.state_dict(), "training_batch": batch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.first_order.load_state_dict(state["first_order"])
        self.training_batch = state["training_batch"]

    def _look_ahead(self, weights: Sequence[nn.Parameter]) -> float:
        """Set w' = w − ξ (μ m + c ∇_w L_train(w, A) + λ w), the step SGD would take; return ξ c.

        c ≤ 1 is what the gradient is clipped by, a constant here as in the authors' recurrent code.
        """
        optimizer = self.learner.optimizer
        group = optimizer.param_groups[0]
        xi: float = group["lr"]
        _clear(weights)
        self.learner.gradients(self.training_batch, weights)
        clip, shrink = self.learner.clip, 1.0
        if clip is not None:
            norm = torch.nn.utils.clip_grad_norm_(weights, clip)
            shrink = min(1.0, clip / (float(norm) + 1e-6))
        with torch.no_grad():
            for w in weights:
                if w.grad is None:  # SGD leaves such a weight alone
                    continue
                step = w.grad.add(w, alpha=group["weight_decay"])
                moment = optimizer.state.get(w, {}).get("momentum_buffer")
                if moment is not None:
                    step.add_(moment, alpha=group["momentum"])
                w.sub_(step, alpha=xi)
        return xi * shrink

    def _hessian_product(self, mixture: Alphas, direction: Sequence[Tensor]) -> Alphas:
        """Return ∇²_{A,w} L_train(w, A) · v by central differences (eq. 8).

        [∇_A L_train(w + εv, A) − ∇_A L_train(w − εv, A)] / 2ε,  ε = 0.01 / ‖v‖.
        """
        norm = float(torch.stack([v.square().sum() for v in direction]).sum().sqrt())
        if norm == 0:
            return {name: torch.zeros_like(p) for name, p in mixture.items()}
        epsilon = RADIUS / norm
        # Both ends see one random state: another dropout mask would drown the difference.
        devices = {v.device.index for v in direction if v.device.type == "cuda"}
        with torch.random.fork_rng(devices=devices):
            plus = self._gradient_at(epsilon, mixture, direction)
        minus = self._gradient_at(-epsilon, mixture, direction)
        return {name: (plus[name] - minus[name]) / (2 * epsilon) for name in mixture}

    def _gradient_at(self, step: float, mixture: Alphas, direction: Sequence[Tensor]) -> Alphas:
        with restored(self.learner.weights) as weights:
            with torch.no_grad():
                for w, v in zip(weights, direction, strict=True):
                    w.add_(v, alpha=step)
            _clear(list(mixture.values()))
            self.learner.gradients(self.training_batch, list(mixture.values()))
        return {name: gradient_of(p).clone() for name, p in mixture.items()}


@contextmanager
def restored(weights: Sequence[nn.Parameter]) -> Iterator[Sequence[nn.Parameter]]:
    """Put the weights' values back at the end, to the bit."""
    before = [w.detach().clone() for w in weights]
    try:
        yield weights
    finally:
        with torch.no_grad():
            for w, value in zip(weights, before, strict=True):
                w.copy_(value)


def _clear(leaves: Sequence[Tensor]) -> None:
    for leaf in leaves:
        leaf.grad = None
