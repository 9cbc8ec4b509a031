"""NASP: neural architecture search by proximal iterations (Yao et al., AAAI 2020)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from nasp.architecture import Architecture
from nasp.complexity import Penalty
from nasp.learner import Learner, gradient_of
from nasp.proximal import prox_c2
from nasp.strategies.strategy import Horizon
from nasp.supernet import Supernet
from nasp.tasks.task import Batch, Metrics


class NASPConfig(BaseModel):
    """Settings of NASP; the defaults are those of the authors' code.

    Attributes:
        optimizer: of the alphas, ``"adam"`` or plain ``"sgd"``.
        lr: the alphas' step size ε.
        betas: Adam's, for the alphas.
        weight_decay: on the alphas.
        exploration: probability that a weight step trains a random path instead.
        gradient: how the same exact gradient is had: ``"probe"``, forward-only and fused;
            ``"probe-unfused"``, every unchosen candidate run as it is; ``"plain"``, through the
            full graph of all candidates, as the authors' code does.
        warmup_epochs: epochs at the start in which weight steps train uniformly drawn paths
            and the alphas rest.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimizer: Literal["adam", "sgd"] = "adam"
    lr: float = Field(3e-4, gt=0)
    betas: tuple[float, float] = (0.5, 0.999)
    weight_decay: float = Field(1e-3, ge=0)
    exploration: float = Field(0.0, ge=0, le=1)
    gradient: Literal["probe", "probe-unfused", "plain"] = "probe"
    warmup_epochs: int = Field(0, ge=0)


class NASP:
    """The lazy proximal iteration (paper, Algorithm 2).

    Args:
        supernet: its alphas start at 0.5 everywhere.
        learner: takes the gradients and the weight steps.
        config: settings.
        horizon: turns epochs into steps.
        seed: fixes how ties are broken and which paths are drawn.
        penalty: η R(A), taken at the discrete point.
    """

    def __init__(
        self,
        supernet: Supernet,
        learner: Learner,
        config: NASPConfig,
        horizon: Horizon,
        seed: int,
        penalty: Penalty,
    ) -> None:
        self.supernet = supernet
        self.learner = learner
        self.config = config
        self.generator = torch.Generator().manual_seed(seed)
        self.penalty = penalty
        self.optimizer = _alpha_optimizer(list(supernet.alphas.values()), config)
        self.alpha_step = learner.fit_precision(self.optimizer).step
        self.warmup_steps = config.warmup_epochs * horizon.steps_per_epoch
        self.weight_steps = 0
        self.path = supernet.discretise(supernet.alphas, self.generator)

    def arch_step(self, batch: Batch) -> Metrics | None:
        """Lines 1 to 3 of the iteration; None while the weights warm up."""
        if self.weight_steps < self.warmup_steps:
            return None
        alphas = self.supernet.alphas
        # 1.  Ā_t = prox_C1(A_t)
        discrete = self._discrete_point()
        # 2.  A_{t+1} = prox_C2(A_t − ε ∇_Ā F(w_t, Ā_t)),  F = L_val + η R
        metrics = self.learner.gradients(
            batch,
            inputs=list(discrete.values()),
            penalty=lambda: self.penalty(discrete),
        )
        for name, a in alphas.items():
            a.grad = gradient_of(discrete[name])
        self.alpha_step()
        with torch.no_grad():
            for a in alphas.values():
                a.copy_(prox_c2(a))
        # 3.  Ā_{t+1} = prox_C1(A_{t+1})
        self.path = self.supernet.discretise(alphas, self.generator)
        return metrics

    def weight_step(self, batch: Batch) -> Metrics:
        """Line 4: w_{t+1} = w_t − γ ∇_w L_train(w_t, Ā_{t+1}), through the chosen alone."""
        explored = self.supernet.random_path(self.generator) if self._explores() else None
        self.supernet.single(explored or self.path)
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
            "path": self.path,
            "weight_steps": self.weight_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.path = state["path"]
        self.weight_steps = state["weight_steps"]

    def _discrete_point(self) -> dict[str, Tensor]:
        """Return leaves that hold Ā, the supernet set to give them the exact gradient."""
        if self.config.gradient == "plain":
            leaves = {name: a.clone().requires_grad_() for name, a in self.path.items()}
            self.supernet.mixture(leaves)
            return leaves
        return self.supernet.probe(self.path, fused=self.config.gradient == "probe")

    def _explores(self) -> bool:
        draw = torch.rand((), generator=self.generator).item()
        return self.weight_steps < self.warmup_steps or draw < self.config.exploration


def _alpha_optimizer(alphas: list[torch.nn.Parameter], config: NASPConfig) -> torch.optim.Optimizer:
    if config.optimizer == "adam":
        return torch.optim.Adam(
            alphas, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay
        )
    return torch.optim.SGD(alphas, lr=config.lr, weight_decay=config.weight_decay)
