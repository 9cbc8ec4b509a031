"""DARTS, second order: the alphas' gradient looks one weight step ahead (Liu et al., ICLR 2019).

The protocol hands a validation batch to the architecture step and a training batch to the weight
step after it. The training batch that is looked ahead with is therefore the last weight step's,
where the authors' code takes that of the weight step to come; the first architecture step, which
has none, moves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nasp.errors import UsageError
from nasp.strategies.darts import DARTS, DARTSConfig
from nasp.strategies.strategy import Problem
from nasp.supernet.leaves import Leaves
from nasp.training.batches import mapped
from nasp.training.learner import gradient_of
from nasp.training.task import Batch, Metrics
from nasp.training.unread import Unread, read

RADIUS = 0.01
"""How far the finite difference reaches, in weight space: ε = 0.01 / ‖∇_w' L_val‖."""


class DARTSSecondOrder(DARTS):
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
        optimizer = learner.optimizer
        if not isinstance(optimizer, torch.optim.SGD) or not _is_plain(optimizer.param_groups):
            raise UsageError(
                "Strategy 'darts-second-order' looks one step of SGD ahead, but the weights'"
                f" optimiser is {type(optimizer).__name__} in {len(optimizer.param_groups)} groups"
                " of parameters: use torch.optim.SGD in one, without nesterov or dampening."
            )
        if getattr(learner.fabric.strategy.precision, "scaler", None) is not None:
            raise UsageError(
                "Strategy 'darts-second-order' needs gradients that are not scaled: use"
                " precision bf16-mixed or 32-true instead of 16-mixed."
            )
        super().__init__(problem, config)
        self.training_batch: Batch | None = None

    def arch_step(self, batch: Batch) -> Metrics | None:
        """Move the alphas along ∇_A [L_val(w − ξ ∇_w L_train(w, A), A) + η R] (eq. 6).

        None before the first weight step.
        """
        if self.training_batch is None:
            return None
        weights, _ = self.mixture()
        mixture = self.relax(weights)
        with restored(self.learner.weights) as moved:
            ahead, norm = self._look_ahead(moved)
            # ∇_A' and ∇_w' of L_val(w', A) in one pass
            _clear([*moved, *mixture.anchors])
            on_val = self.learner.backward(batch, [*mixture.anchors, *moved])
            direction = [gradient_of(w) for w in moved]
        length = torch.stack([v.square().sum() for v in direction]).sum().sqrt()
        (_, metrics), (norm, length, direct) = read(
            [ahead, on_val], [norm, length, gradient_of(mixture.anchors[0])]
        )
        # eq. 7:  ∇_A L_val(w', A) − ξ ∇²_{A,w} L_train(w, A) ∇_w' L_val(w', A)
        implicit = self._hessian_product(mixture, direction, float(length))
        self.descend(weights, mixture.split(direct - self._reach(float(norm)) * implicit))
        _clear(self.learner.weights)
        return metrics

    def weight_step(self, batch: Batch) -> Metrics:
        """Move the weights through the mixture: w ← w − γ ∇_w L_train(w, A)."""
        self.training_batch = batch
        return super().weight_step(batch)

    def state_dict(self) -> dict[str, Any]:
        """Return first order's state and the training batch."""
        # Clones, for a batch that is a view would bring the whole data set along.
        batch = mapped(self.training_batch, lambda x: x.clone() if isinstance(x, Tensor) else x)
        return {**super().state_dict(), "training_batch": batch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        super().load_state_dict(state)
        self.training_batch = state["training_batch"]

    def _look_ahead(self, weights: Sequence[nn.Parameter]) -> tuple[Unread, Tensor]:
        """Set w' = w − ξ (μ m + c ∇_w L_train(w, A) + λ w), the step SGD would take.

        Returns:
            The figures of the pass, and the norm of its gradient, which is clipped.
        """
        optimizer = self.learner.optimizer
        group = optimizer.param_groups[0]
        _clear(weights)
        unread = self.learner.backward(self.training_batch, weights)
        clip = self.learner.clip
        norm = nn.utils.clip_grad_norm_(weights, math.inf if clip is None else clip)
        with torch.no_grad():
            for w in weights:
                if w.grad is None:  # SGD leaves such a weight alone
                    continue
                step = w.grad.add(w, alpha=group["weight_decay"])
                moment = optimizer.state.get(w, {}).get("momentum_buffer")
                if moment is not None:
                    step.add_(moment, alpha=group["momentum"])
                w.sub_(step, alpha=group["lr"])
        return unread, norm

    def _reach(self, norm: float) -> float:
        """Return ξ c, c ≤ 1 what a gradient of this norm is clipped by.

        It counts as a constant here, as in the authors' recurrent code.
        """
        xi: float = self.learner.optimizer.param_groups[0]["lr"]
        clip = self.learner.clip
        return xi * (1.0 if clip is None else min(1.0, clip / (norm + 1e-6)))

    def _hessian_product(self, mixture: Leaves, v: Sequence[Tensor], length: float) -> Tensor:
        """Return ∇²_{A,w} L_train(w, A) · v by central differences (eq. 8), on the CPU.

        [∇_A L_train(w + εv, A) − ∇_A L_train(w − εv, A)] / 2ε,  ε = 0.01 / ‖v‖.
        """
        if length == 0:
            return torch.zeros(mixture.anchors[0].shape)
        epsilon = RADIUS / length
        # Both ends see one random state: another dropout mask would drown the difference.
        devices = {direction.device.index for direction in v if direction.device.type == "cuda"}
        with torch.random.fork_rng(devices=devices):
            ahead, plus = self._gradient_at(epsilon, mixture, v)
        behind, minus = self._gradient_at(-epsilon, mixture, v)
        _, (plus, minus) = read([ahead, behind], [plus, minus])
        return (plus - minus) / (2 * epsilon)

    def _gradient_at(
        self, step: float, mixture: Leaves, v: Sequence[Tensor]
    ) -> tuple[Unread, Tensor]:
        with restored(self.learner.weights) as weights:
            with torch.no_grad():
                for w, direction in zip(weights, v, strict=True):
                    w.add_(direction, alpha=step)
            _clear(mixture.anchors)
            unread = self.learner.backward(self.training_batch, mixture.anchors)
        return unread, gradient_of(mixture.anchors[0])


def _is_plain(groups: Sequence[dict[str, Any]]) -> bool:
    unlike = any(groups[0][name] for name in ("nesterov", "dampening", "maximize"))
    return len(groups) == 1 and not unlike


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
