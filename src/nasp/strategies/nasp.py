"""NASP: neural architecture search by proximal iterations (Yao et al., AAAI 2020)."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from nasp.strategies.average import Average, MeanGain, MeanPoint
from nasp.strategies.strategy import Horizon, Problem
from nasp.supernet.architecture import Architecture
from nasp.supernet.leaves import Leaves
from nasp.supernet.probe.taps import Probe
from nasp.supernet.proximal import prox_c2
from nasp.training.task import Batch, Metrics

PAPER: dict[str, Any] = {"uniform": 0.0, "average": 0.0, "weight_steps": 1, "lr": 3e-4}
"""The settings of the authors' code, where the defaults differ."""
MOST_WEIGHT_STEPS, FEWEST_ARCH_STEPS = 8, 100
"""By default: the first to each architecture step, the second in all."""


class NASPConfig(BaseModel):
    """Settings of NASP; those of the authors' code are the defaults with `PAPER` on top."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    uniform: float = Field(1.0, ge=0, le=1)
    """Share of weight steps that train a uniformly drawn path, so that all candidates are trained
    alike; the others train the discrete point, as the paper does."""
    weight_steps: int | None = Field(None, ge=1)
    """Weight steps to each architecture step, of which the paper has one; default 8, for it is the
    weights that a search waits for, and fewer where it would have less than 100 architecture
    steps, or less than one an epoch."""
    average: float = Field(0.5, ge=0, le=1)
    """Share of the search, at its end, over which is averaged what the result is taken by;
    0 takes the last discrete point, as the paper does."""
    mean_of: Literal["gains", "points"] = "gains"
    """What is averaged: gains, what each candidate instead of the chosen one would take off the
    loss by the exact gradient; or points, so that the result is what was chosen most often."""
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
    c2: bool = True
    """Keep the alphas in C2; false is the paper's ablation."""


class NASPWithoutC2Config(NASPConfig):
    """Settings of the paper's ablation without C2; otherwise as published."""

    uniform: float = Field(0.0, ge=0, le=1)
    """As of strategy nasp."""
    weight_steps: int | None = Field(1, ge=1)
    """As of strategy nasp."""
    average: float = Field(0.0, ge=0, le=1)
    """As of strategy nasp."""
    c2: bool = False
    """As of strategy nasp."""


def takes_gains(config: NASPConfig) -> bool:
    """Tell whether a search is to keep what gains most in the mean."""
    return config.average > 0 and config.mean_of == "gains"


def weight_steps(config: NASPConfig, horizon: Horizon) -> int:
    """Return how many weight steps a search takes to each architecture step."""
    if config.weight_steps is not None:
        return config.weight_steps
    most = horizon.epochs * horizon.steps_per_epoch // FEWEST_ARCH_STEPS
    return max(1, min(MOST_WEIGHT_STEPS, horizon.steps_per_epoch, most))


class NASP:
    """The lazy proximal iteration (paper, Algorithm 2).

    Args:
        problem: whose alphas start at 0.5 everywhere; R is taken at the discrete point.
        config: settings.

    Attributes:
        path: Ā, the discrete point.
        average: over the last part of the search, what the result is taken by; None: it is Ā.
    """

    def __init__(self, problem: Problem, config: NASPConfig) -> None:
        self.problem = problem
        self.supernet = problem.supernet
        self.learner = problem.learner
        self.config = config
        self.generator = torch.Generator().manual_seed(problem.seed)
        self.optimizer = _alpha_optimizer(problem, config)
        self.path = self.supernet.discretise(self.supernet.alphas, self.generator)
        self.average = _average(problem, config)
        self.weight_steps = 0

    @property
    def rests(self) -> bool:
        """Whether it is not yet time for the next architecture step."""
        return self.weight_steps % weight_steps(self.config, self.problem.horizon) > 0

    @property
    def probes(self) -> bool:
        """Whether the gradient is had by a probe."""
        return self.config.gradient != "plain"

    def arch_step(self, batch: Batch) -> Metrics:
        """Lines 1 to 3 of the iteration."""
        alphas = self.supernet.alphas
        # 1.  Ā_t = prox_C1(A_t)
        at = self.path
        discrete = self._discrete_point()
        # 2.  A_{t+1} = prox_C2(A_t − ε ∇_Ā F(w_t, Ā_t)),  F = L_val + η R
        metrics = self.learner.gradients(batch, discrete)
        of_loss = self.problem.step(self.optimizer, at, discrete.gradients())
        with torch.no_grad():
            for a in alphas.values() if self.config.c2 else ():
                a.copy_(prox_c2(a))
        # 3.  Ā_{t+1} = prox_C1(A_{t+1})
        self.path = self.supernet.discretise(alphas, self.generator)
        if isinstance(self.average, MeanPoint):
            self.average.add_step(self.supernet.one_hot(self.path))
        elif isinstance(self.average, MeanGain):
            self.average.add_step(self.supernet.one_hot(at), of_loss)
        return metrics

    def weight_step(self, batch: Batch) -> Metrics:
        """Line 4: w_{t+1} = w_t − γ ∇_w L_train(w_t, Ā_{t+1}), or at a uniformly drawn path."""
        is_uniform = torch.rand((), generator=self.generator).item() < self.config.uniform
        path = self.supernet.random_path(self.generator) if is_uniform else self.path
        self.supernet.single(path)
        self.weight_steps += 1
        return self.learner.weight_step(batch)

    def derive(self) -> Architecture:
        """Return the average as a discrete point; without one Ā of the last iteration."""
        if self.average is None or self.average.steps == 0:
            return self.supernet.architecture(self.path)
        # A copy: deriving breaks ties alike each time, and moves nothing.
        ties = torch.Generator()
        ties.set_state(self.generator.get_state())
        return self.supernet.architecture(self.supernet.discretise(self.average.scores(), ties))

    def state_dict(self) -> dict[str, Any]:
        """Return optimiser, random state, the discrete point and the average."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "generator": self.generator.get_state(),
            "path": list(self.path),
            "weight_steps": self.weight_steps,
            "average": None if self.average is None else self.average.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.path = tuple(state["path"])
        self.weight_steps = state["weight_steps"]
        if self.average is not None:
            self.average.load_state_dict(state["average"])

    def _discrete_point(self) -> Probe | Leaves:
        """Set the supernet to give the exact gradient at Ā; return what has it then."""
        if self.config.gradient == "plain":
            leaves = Leaves(self.supernet.one_hot(self.path), self.supernet.device)
            self.supernet.mixture(leaves.tables, at=self.path)
            return leaves
        is_fused = self.config.gradient == "probe"
        return self.supernet.probe(self.path, is_fused, fixed_weights=True)


def arch_steps(config: NASPConfig, horizon: Horizon) -> int:
    """Return how many architecture steps a search takes in all."""
    return math.ceil(horizon.epochs * horizon.steps_per_epoch / weight_steps(config, horizon))


def _average(problem: Problem, config: NASPConfig) -> Average | None:
    if config.average == 0:
        return None
    steps = arch_steps(config, problem.horizon)
    if takes_gains(config):
        return MeanGain(problem.supernet, steps, config.average, problem.prices)
    return MeanPoint(problem.supernet, steps, config.average)


def _alpha_optimizer(problem: Problem, config: NASPConfig) -> torch.optim.Optimizer:
    alphas = problem.supernet.alphas.values()
    steps = arch_steps(config, problem.horizon)
    lr = config.lr or Horizon(1, steps).step_size(PAPER["lr"])
    if config.optimizer == "adam":
        return torch.optim.Adam(alphas, lr=lr, betas=config.betas, weight_decay=config.weight_decay)
    return torch.optim.SGD(alphas, lr=lr, weight_decay=config.weight_decay)
