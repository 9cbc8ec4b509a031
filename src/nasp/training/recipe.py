"""How weights are trained, in a search as afterwards: on one device, along a schedule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from nasp.runs.random_state import seeded
from nasp.training.device import DeviceName, Fabric, computing, make_fabric, ranks_of
from nasp.training.learner import Learner
from nasp.training.ranks import Ranks
from nasp.training.rates import (
    OptimizerChoice,
    Per,
    Rates,
    ScheduleChoice,
    factor_of,
    make_optimizer,
    make_scheduler,
)
from nasp.training.task import Task

if TYPE_CHECKING:
    from typing_extensions import Self

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class BaseRecipe(BaseModel):
    """Settings of every descent of weights; each use has defaults of its own for some."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    epochs: int = Field(50, ge=1)
    """Passes over the training data."""
    lr: float = Field(0.025, gt=0)
    """Learning rate of the weights at the start."""
    weight_decay: float = Field(3e-4, ge=0)
    """Weight decay of the weights."""
    clip: float | None = Field(5.0, gt=0)
    """Largest norm of the weights' gradient; None for no clipping."""
    accumulate: int = Field(1, ge=1)
    """Parts a batch is split into, to save memory."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Fixes the run on one machine."""
    device: DeviceName = "auto"
    """auto (a GPU if there is one), cpu, cuda, cuda:1 or mps."""
    devices: int = Field(1, ge=1)
    """Devices of a machine that share each batch, a process each."""
    nodes: int = Field(1, ge=1)
    """Machines with so many devices each; the same command is started on all of them."""
    sync_bn: bool = False
    """With several devices, let BatchNorm normalise by all of a batch, not by a device's share."""
    deterministic: bool = True
    """On a CUDA device, take only algorithms that repeat themselves, so that a seed fixes the run;
    otherwise the fastest."""
    capture: bool = True
    """On a CUDA device, replay steps that repeat themselves as CUDA graphs, where a network
    of our spaces and its task depend on nothing else."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"] = "32-true"
    """32-true, bf16-mixed, 16-mixed or 64-true, as Lightning Fabric calls them."""
    checkpoint_minutes: float = Field(5.0, gt=0)
    """A checkpoint is written after each epoch and this often within one."""
    init: Path | None = None
    """Start from the weights in this .safetensors file or run folder, where name and shape fit;
    default from drawn ones."""

    def learner_with(
        self,
        optimizer: Callable[[Sequence[nn.Parameter]], torch.optim.Optimizer],
        network: nn.Module,
        task: Task,
        weights: Sequence[nn.Parameter],
    ) -> Learner:
        """Return what moves these weights of a network, by an optimiser.

        Raises:
            UsageError: the machine lacks the device, or it cannot compute in this precision.
        """
        return Learner(
            self.fabric(),
            network,
            task,
            weights,
            optimizer,
            clip=self.clip,
            accumulate=self.accumulate,
            capture=self.capture,
            sync_bn=self.sync_bn,
            seed=self.seed,
        )

    def fabric(self, launch: bool = True) -> Fabric:
        """Return what these settings compute with; see `make_fabric`.

        Raises:
            UsageError: the machine lacks the device, or it cannot compute in this precision.
        """
        return make_fabric(self.device, self.precision, self.devices, self.nodes, launch)

    def as_kept(self) -> dict[str, Any]:
        """Return what a run that goes on must have alike, as JSON: not how many processes."""
        plain = () if self.sync_bn else ("sync_bn",)  # runs of before lack it
        return self.model_dump(mode="json", exclude={"devices", "nodes", *plain})

    def alone(self) -> Self:
        """Return the same settings for one process."""
        return self.model_copy(update={"devices": 1, "nodes": 1})

    @property
    def ranks(self) -> Ranks:
        """Which process of a run by these settings this is; the others need not be there yet."""
        return ranks_of(self.fabric(launch=False)) if self.devices * self.nodes > 1 else Ranks()


def computing_as_set(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Make a function, one of whose arguments is a `BaseRecipe`, compute as that one says.

    See `nasp.training.device.computing`. All random generators start from its seed, and are the
    caller's own again at the end.
    """

    @wraps(function)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        settings = next(a for a in (*args, *kwargs.values()) if isinstance(a, BaseRecipe))
        shares = settings.devices * settings.nodes > 1
        device = settings.fabric().device if shares else settings.device
        with computing(device, settings.deterministic), seeded(settings.seed):
            return function(*args, **kwargs)

    return run


class Recipe(BaseRecipe):
    """Settings that a search and a training on images share; the default is SGD along a cosine."""

    lr_min: float | None = Field(0.001, ge=0)
    """The weights' learning rate at the end of the schedule; None: constant."""
    momentum: float = Field(0.9, ge=0, lt=1)
    """Momentum of SGD and RMSprop."""
    optimizer: OptimizerChoice = "sgd"
    """What moves the weights: sgd, adam, adamw or rmsprop."""
    schedule: ScheduleChoice = "cosine"
    """How the weights' learning rate falls: cosine, linear or constant."""
    schedule_per: Per = "epoch"
    """After what it changes: epoch or step."""
    warmup_steps: int = Field(0, ge=0)
    """Steps in which it rises to its full height before; it then changes after each step."""

    def learner(self, network: nn.Module, task: Task, weights: Sequence[nn.Parameter]) -> Learner:
        """Return what moves these weights of a network; see `learner_with`."""
        fields = {"lr": self.lr, "momentum": self.momentum, "weight_decay": self.weight_decay}
        make = partial(make_optimizer, self.optimizer, fields=fields)
        return self.learner_with(make, network, task, weights)

    @property
    def lr_end(self) -> float:
        """The learning rate at the end of the schedule, which never rises to it."""
        return self.lr if self.lr_min is None else min(self.lr_min, self.lr)

    def rates(self, learner: Learner) -> Rates:
        """Return the schedule from `lr` to `lr_end`; with one's own optimiser as far from its lr.

        Args:
            learner: whose weight steps move on what changes after each step.
        """
        optimizer, is_named = learner.optimizer, isinstance(self.optimizer, str)
        per: Per = "step" if self.warmup_steps else self.schedule_per
        if self.schedule == "cosine" and per == "epoch" and is_named:
            cosine = torch.optim.lr_scheduler.CosineAnnealingLR
            return Rates(
                cosine(optimizer, T_max=self.epochs, eta_min=self.lr_end), per, self.epochs
            )
        total = self.epochs * (learner.steps_per_epoch if per == "step" else 1)
        factor = factor_of(str(self.schedule), self.lr_end / self.lr, total, self.warmup_steps)
        is_own = not isinstance(self.schedule, str)
        scheduler = make_scheduler(self.schedule, optimizer, factor)
        rates = Rates(scheduler, per, None if is_own else self.epochs)
        learner.after_step = rates.end_step
        return rates
