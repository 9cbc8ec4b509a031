"""NASP: neural architecture search by proximal iterations (Yao et al., AAAI 2020)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from nasp.complexity import parameter_counts
from nasp.runs.random_state import random_states
from nasp.strategies.descent import Descent
from nasp.strategies.neighbourhood import random_neighbour
from nasp.strategies.strategy import Problem
from nasp.supernet.architecture import Architecture
from nasp.supernet.leaves import Leaves
from nasp.supernet.path import Path
from nasp.supernet.probe.taps import Probe
from nasp.supernet.proximal import prox_c2
from nasp.supernet.supernet import Alphas
from nasp.training.task import Batch, Metrics

TIE = 1e-6
"""What decides between alphas that are equal; too little to decide between others."""


PAPER: dict[str, Any] = {"start": "random", "rest": 0.0, "descent": False, "lr": 3e-4}
"""The settings of the authors' code, where the defaults differ."""


class NASPConfig(BaseModel):
    """Settings of NASP; those of the authors' code are the defaults with `PAPER` on top."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    start: Literal["largest", "random"] = "largest"
    """The first path, all alphas being equal: largest takes each edge's candidate with the most
    parameters, since a candidate cannot show its worth before its weights are trained; random
    draws it."""
    rest: float = Field(0.2, ge=0, lt=1)
    """Share of the search, at its start, in which the alphas rest and the weights of the path
    that stands are trained: before that no candidate can be compared with it."""
    exploration: float = Field(0.0, ge=0, le=1)
    """Probability that a weight step trains a path that is one change away from the one that
    stands, drawn anew: another candidate on an edge, or other edges at a node. What is never
    trained can never be found better than what always is."""
    descent: bool = True
    """Change the discrete architecture only where that lowers F on the step's own batch, and one
    edge or node at a time (`nasp.strategies.descent`); False takes every argmax, as the paper
    does."""
    optimizer: Literal["adam", "sgd"] = "adam"
    """What moves the alphas: adam or plain sgd."""
    lr: float | None = Field(None, gt=0)
    """Step size ε of the alphas; default lets an alpha travel as far in all as in the authors'
    search (5.85), with steps of at most 0.02."""
    betas: tuple[float, float] = (0.5, 0.999)
    """Betas of Adam, for the alphas."""
    weight_decay: float = Field(1e-3, ge=0)
    """Weight decay of the alphas."""
    gradient: Literal["probe", "probe-unfused", "plain"] = "probe"
    """How the same exact gradient is had: probe, forward-only and fused; probe-unfused, every
    unchosen candidate run as it is; plain, through the full graph of all candidates, as the
    authors' code does."""
    warmup_epochs: int = Field(0, ge=0)
    """Epochs at the start in which weight steps train uniformly drawn paths and the alphas rest."""


class NASP:
    """The lazy proximal iteration (paper, Algorithm 2).

    Args:
        problem: whose alphas start at 0.5 everywhere; R is taken at the discrete point.
        config: settings.
    """

    def __init__(self, problem: Problem, config: NASPConfig) -> None:
        self.problem = problem
        self.supernet = problem.supernet
        self.learner = problem.learner
        self.config = config
        self.generator = torch.Generator().manual_seed(problem.seed)
        horizon = problem.horizon
        self.warmup_steps = config.warmup_epochs * horizon.steps_per_epoch
        steps = horizon.epochs * horizon.steps_per_epoch
        self.resting_steps = max(self.warmup_steps, int(config.rest * steps))
        lr = config.lr or horizon.step_size(PAPER["lr"], self.resting_steps)
        self.optimizer = _alpha_optimizer(list(self.supernet.alphas.values()), config, lr)
        self.weight_steps = 0
        self.path = self._first_path()
        self.descent = Descent(problem, lr) if config.descent else None

    @property
    def probes(self) -> bool:
        """Whether the gradient is had by a probe."""
        return self.config.gradient != "plain"

    def arch_step(self, batch: Batch) -> Metrics | None:
        """Lines 1 to 3 of the iteration; None while the alphas rest."""
        if self.weight_steps < self.resting_steps:
            return None
        alphas = self.supernet.alphas
        # 1.  Ā_t = prox_C1(A_t)
        discrete = self._discrete_point()
        drawn = random_states()
        # 2.  A_{t+1} = prox_C2(A_t − ε ∇_Ā F(w_t, Ā_t)),  F = L_val + η R
        metrics = self.learner.gradients(batch, discrete)
        self.problem.step(self.optimizer, self.path, discrete.gradients())
        with torch.no_grad():
            for a in alphas.values():
                a.copy_(prox_c2(a))
        # 3.  Ā_{t+1} = prox_C1(A_{t+1}), where that goes downhill
        if self.descent is None:
            self.path = self.supernet.discretise(alphas, self.generator)
        else:
            held = self.supernet.one_hot(self.path)
            ranked = {name: a + TIE * held[name] for name, a in alphas.items()}
            proposal = self.supernet.discretise(ranked, self.generator)
            self.path = self.descent.step(self.path, proposal, batch, metrics["loss"], drawn)
        return metrics

    def weight_step(self, batch: Batch) -> Metrics:
        """Line 4: w_{t+1} = w_t − γ ∇_w L_train(w_t, Ā_{t+1}), through the chosen alone."""
        self.supernet.single(self._explored() or self.path)
        self.weight_steps += 1
        return self.learner.weight_step(batch)

    def derive(self) -> Architecture:
        """Return Ā, the discrete point of the last iteration."""
        return self.supernet.architecture(self.path)

    def state_dict(self) -> dict[str, Any]:
        """Return optimiser, random state, the discrete point and the count of steps."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "path": list(self.path),
            "weight_steps": self.weight_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.path = tuple(state["path"])
        self.weight_steps = state["weight_steps"]

    def _discrete_point(self) -> Probe | Leaves:
        """Set the supernet to give the exact gradient at Ā; return what has it then."""
        if self.config.gradient == "plain":
            leaves = Leaves(self.supernet.one_hot(self.path), self.supernet.device)
            self.supernet.mixture(leaves.tables)
            return leaves
        is_fused = self.config.gradient == "probe"
        return self.supernet.probe(self.path, is_fused, fixed_weights=True)

    def _first_path(self) -> Path:
        alphas: Alphas = dict(self.supernet.alphas)
        if self.config.start == "largest":
            counts = parameter_counts(self.supernet)
            alphas = {
                name: a + TIE * counts[name] / counts[name].amax().clamp_min(1)
                for name, a in alphas.items()
            }
        return self.supernet.discretise(alphas, self.generator)

    def _explored(self) -> Path | None:
        draw = torch.rand((), generator=self.generator).item()
        if self.weight_steps < self.warmup_steps:
            return self.supernet.random_path(self.generator)
        if draw < self.config.exploration:
            return random_neighbour(self.supernet, self.path, self.generator)
        return None


def _alpha_optimizer(
    alphas: list[torch.nn.Parameter], config: NASPConfig, lr: float
) -> torch.optim.Optimizer:
    if config.optimizer == "adam":
        return torch.optim.Adam(alphas, lr=lr, betas=config.betas, weight_decay=config.weight_decay)
    return torch.optim.SGD(alphas, lr=lr, weight_decay=config.weight_decay)
