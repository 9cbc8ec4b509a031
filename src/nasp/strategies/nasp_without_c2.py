"""NASP without C2, an ablation (Yao et al., AAAI 2020): discrete paths, alphas without bounds."""

from __future__ import annotations

from typing import Any

from nasp.strategies.relaxation import AlphaAdam, Relaxation
from nasp.strategies.strategy import Problem
from nasp.supernet.architecture import Architecture
from nasp.training.task import Batch, Metrics


class NASPWithoutC2Config(AlphaAdam):
    """Settings of NASP without C2; the defaults are those of NASP's authors' code."""


class NASPWithoutC2(Relaxation):
    """NASP's iteration, but for the clip of its second line.

    Args:
        problem: whose alphas start at 0.5 everywhere; R is taken at the discrete point.
        config: settings.
    """

    probes = True
    MEAN = 0.5
    DEVIATION = 0.0

    def __init__(self, problem: Problem, config: NASPWithoutC2Config) -> None:
        super().__init__(problem, config)
        self.path = self.supernet.discretise(self.supernet.alphas, self.generator)

    def arch_step(self, batch: Batch) -> Metrics:
        """Lines 1 to 3 of the iteration, the second without prox_C2."""
        # 1.  Ā_t = prox_C1(A_t)
        probed = self.supernet.probe(self.path)
        # 2.  A_{t+1} = A_t − ε ∇_Ā F(w_t, Ā_t)
        metrics = self.learner.gradients(batch, probed)
        self.problem.step(self.optimizer, self.path, probed.gradients())
        # 3.  Ā_{t+1} = prox_C1(A_{t+1})
        self.path = self.supernet.discretise(self.supernet.alphas, self.generator)
        return metrics

    def weight_step(self, batch: Batch) -> Metrics:
        """Line 4: through the chosen candidates alone."""
        self.supernet.single(self.path)
        return self.learner.weight_step(batch)

    def derive(self) -> Architecture:
        """Return Ā, the discrete point of the last iteration."""
        return self.supernet.architecture(self.path)

    def state_dict(self) -> dict[str, Any]:
        """Return the alphas' optimiser, what breaks ties, and the discrete point."""
        return {**super().state_dict(), "path": list(self.path)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        super().load_state_dict(state)
        self.path = tuple(state["path"])
