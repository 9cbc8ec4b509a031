"""PA, lazy: the proximal algorithm that projects now and then, an ablation of NASP (AAAI 2020)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from nasp.strategies.pa_standard import PAStandard
from nasp.strategies.relaxation import AlphaAdam
from nasp.strategies.strategy import Problem
from nasp.training.task import Batch, Metrics


class PALazyConfig(AlphaAdam):
    """Settings of the lazy proximal algorithm; those of the optimiser are NASP's authors'.

    Attributes:
        period: architecture steps from one projection into C to the next; None: one at the end
            alone, in what is derived.
    """

    period: int | None = Field(10, ge=1)


class PALazy(PAStandard):
    """A_{t+1} = A_t − ε ∇_A F(w_t, A_t), and A ← prox_C(A) after every `period` of them.

    Between projections all candidates run, each times its entry of A, in both steps.

    Args:
        problem: whose alphas start at 0.5 everywhere; R is taken at A.
        config: settings.
    """

    def __init__(self, problem: Problem, config: PALazyConfig) -> None:
        super().__init__(problem, config)
        self.period = config.period
        self.arch_steps = 0

    def arch_step(self, batch: Batch) -> Metrics | None:
        """Move the alphas by the gradient at the continuous point; into C where it is time."""
        metrics = self.gradient_step(batch)
        self.arch_steps += 1
        if self.period is not None and self.arch_steps % self.period == 0:
            self.project()
        return metrics

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the plain algorithm and the count of steps."""
        return {**super().state_dict(), "arch_steps": self.arch_steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        super().load_state_dict(state)
        self.arch_steps = state["arch_steps"]
