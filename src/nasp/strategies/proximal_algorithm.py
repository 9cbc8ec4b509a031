"""The ablations of NASP (Yao et al., AAAI 2020) whose gradient is at the continuous point.

One copy of the alphas is kept and the gradient is taken at it. They differ in when it goes into C:
in every step (PA, standard), now and then (PA, lazy), or never, only into C2 (NASP without C1).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from pydantic import Field

from nasp.strategies.relaxation import AlphaAdam, Relaxation
from nasp.strategies.strategy import Problem
from nasp.supernet.architecture import Architecture
from nasp.supernet.path import Path
from nasp.supernet.proximal import prox_c2
from nasp.supernet.supernet import Alphas
from nasp.training.task import Batch, Metrics


class PALazyConfig(AlphaAdam):
    """Settings of the lazy proximal algorithm; those of the optimiser are NASP's authors'.

    Attributes:
        period: architecture steps from one projection into C to the next; None: one at the end
            alone, in what is derived.
    """

    period: int | None = Field(10, ge=1)


class ProximalAlgorithm(Relaxation):
    """A_{t+1} = A_t − ε ∇_A F(w_t, A_t), and A ← prox_C(A) after every `period` of them.

    w_{t+1} = w_t − γ ∇_w L_train(w_t, A_{t+1}): after a projection the kept candidates run, else
    all, each times its entry of A. Derived is where prox_C1 keeps an entry.

    Args:
        problem: whose alphas start at 0.5 everywhere; R is taken at A.
        config: settings.
        period: architecture steps from one projection to the next; None: there is none.
        clips: take prox_C2 in every step.
    """

    MEAN = 0.5
    DEVIATION = 0.0
    DERIVES_NONE = True

    def __init__(
        self,
        problem: Problem,
        config: AlphaAdam,
        period: int | None = None,
        clips: bool = False,
    ) -> None:
        super().__init__(problem, config)
        self.period = period
        self.clips = clips
        self.arch_steps = 0
        self.path: Path | None = None

    def arch_step(self, batch: Batch) -> Metrics | None:
        """Move the alphas by the gradient at the continuous point; into C where it is time."""
        self.path = None  # the gradient is through all candidates, those of weight 0 too
        metrics = super().arch_step(batch)
        self.arch_steps += 1
        if self.clips:
            with torch.no_grad():
                for a in self.supernet.alphas.values():
                    a.copy_(prox_c2(a))
        if self.period is not None and self.arch_steps % self.period == 0:
            self.project()
        return metrics

    def project(self) -> None:
        """A ← prox_C(A) = prox_C2(prox_C1(A))."""
        self.path = self.supernet.discretise(self.supernet.alphas, self.generator)
        kept = self.supernet.one_hot(self.path)
        with torch.no_grad():
            for name, a in self.supernet.alphas.items():
                a.copy_(prox_c2(kept[name] * a))

    def mixture(self) -> tuple[Alphas, Path | None]:
        """Return A, and the candidates that it keeps: each runs times its entry."""
        return self.strengths(), self.path

    def strengths(self) -> Alphas:
        """Return A."""
        return dict(self.supernet.alphas)

    def derive(self) -> Architecture:
        """Return where prox_C1 keeps an entry."""
        return super().derive() if self.path is None else self.supernet.architecture(self.path)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of every relaxation, the steps, and where the last projection ended."""
        path = None if self.path is None else list(self.path)
        return {**super().state_dict(), "arch_steps": self.arch_steps, "path": path}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        super().load_state_dict(state)
        self.arch_steps = state["arch_steps"]
        self.path = None if state["path"] is None else tuple(state["path"])


pa_standard = partial(ProximalAlgorithm, period=1)
nasp_without_c1 = partial(ProximalAlgorithm, clips=True)


def pa_lazy(problem: Problem, config: PALazyConfig) -> ProximalAlgorithm:
    """Return the algorithm that projects as often as its settings say."""
    return ProximalAlgorithm(problem, config, config.period)
