"""Optimisers of the weights and their learning rates: by name, or of the user's own making."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, PlainSerializer
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from nasp.errors import UsageError, unknown_name

OPTIMIZERS: dict[str, Any] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
}
SHAPES: dict[str, Callable[[float], float]] = {
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "linear": lambda done: 1 - done,
    "constant": lambda _: 1.0,
}
"""From the share of the way that is done to the height above the end."""

Per = Literal["epoch", "step"]


def _checked(kind: str, known: Mapping[str, Any], argument: str) -> AfterValidator:
    def check(value: Any) -> Any:
        if callable(value):
            return value
        if not isinstance(value, str):
            raise ValueError(f"give a name or a function of the {argument}, not a {type(value)}")
        if value not in known:
            raise ValueError(str(unknown_name(kind, value, list(known))))
        return value

    return AfterValidator(check)


_AS_WORD = PlainSerializer(lambda v: v if isinstance(v, str) else "own", when_used="json")

OptimizerChoice = Annotated[Any, _checked("optimizer", OPTIMIZERS, "parameters"), _AS_WORD]
"""A name, or a function from parameters to a `torch.optim.Optimizer`; in files that is ``own``."""
ScheduleChoice = Annotated[Any, _checked("schedule", SHAPES, "optimizer"), _AS_WORD]
"""A name, or a function from an optimizer to a scheduler of `torch.optim.lr_scheduler`."""


def make_optimizer(
    choice: Any, parameters: Sequence[nn.Parameter], fields: Mapping[str, float]
) -> Optimizer:
    """Return the optimiser of a name with those of the fields that it knows, or one's own.

    Raises:
        UsageError: the user's function gives no optimiser, or one whose step needs a closure.
    """
    if isinstance(choice, str):
        kind = OPTIMIZERS[choice]
        known = kind([nn.Parameter(torch.empty(0))]).defaults
        made = kind(parameters, **{n: v for n, v in fields.items() if n in known})
    else:
        made = choice(list(parameters))
    if not isinstance(made, Optimizer) or isinstance(made, torch.optim.LBFGS):
        raise UsageError(
            f"The function optimizer gives a {type(made).__name__}: it must give a"
            " torch.optim.Optimizer whose step needs no closure."
        )
    return made


class Rates:
    """The learning rates of an optimiser along a schedule; a part of checkpoints.

    Args:
        scheduler: torch's, or the user's own.
        per: whether it moves after each epoch, or after each step.
        total: epochs after which it stays where it is; default it goes on as it can.
    """

    def __init__(self, scheduler: LRScheduler, per: Per, total: int | None = None) -> None:
        self.scheduler = scheduler
        self.total = total
        self.per = per
        self.epochs = 0

    @property
    def last(self) -> float:
        """The learning rate as it now is, of the first group of parameters."""
        return float(self.scheduler.optimizer.param_groups[0]["lr"])

    def end_step(self) -> None:
        """Move on after a step."""
        if self.per == "step" and self._goes_on():
            self._move()

    def end_epoch(self, metrics: Mapping[str, float]) -> None:
        """Move on after an epoch; what waits for a plateau is told the loss."""
        self.epochs += 1
        if self.per == "step" or not self._goes_on(self.epochs - 1):
            return
        if isinstance(self.scheduler, ReduceLROnPlateau):
            names = ("val_loss", "loss", "train_loss")
            loss = next((metrics[name] for name in names if name in metrics), None)
            if loss is None:
                raise UsageError("ReduceLROnPlateau waits for a loss: give what to measure on.")
            self.scheduler.step(loss)
        else:
            self._move()

    def _goes_on(self, done: int | None = None) -> bool:
        return self.total is None or (self.epochs if done is None else done) < self.total

    def _move(self) -> None:
        try:
            self.scheduler.step()
        except ValueError as error:  # OneCycleLR is over
            raise UsageError(f"The schedule cannot go on: {error}.") from error

    def state_dict(self) -> dict[str, Any]:
        """Return the scheduler's state and the epochs that are done."""
        return {"scheduler": self.scheduler.state_dict(), "epochs": self.epochs}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.scheduler.load_state_dict(state["scheduler"])
        self.epochs = state["epochs"]


def make_scheduler(choice: Any, optimizer: Optimizer, factor: Callable[[int], float]) -> Any:
    """Return the user's own scheduler, or that of a factor of the first learning rates.

    Raises:
        UsageError: the user's function gives no scheduler.
    """
    if isinstance(choice, str):
        return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    made = choice(optimizer)
    if not isinstance(made, LRScheduler):
        raise UsageError(
            f"The function schedule gives a {type(made).__name__}: it must give a scheduler of"
            " torch.optim.lr_scheduler for the optimizer that it is called with."
        )
    return made


def factor_of(shape: str, end: float, total: int, warmup: int = 0) -> Callable[[int], float]:
    """Return by what the first learning rate is multiplied after so many epochs or steps.

    Args:
        shape: a name of `SHAPES`.
        end: the factor at the end.
        total: epochs or steps in all.
        warmup: over how many of them it rises to 1 before.
    """

    def factor(done: int) -> float:
        if done < warmup:
            return (done + 1) / warmup
        share = min(1.0, (done - warmup) / max(1, total - warmup))
        return end + (1 - end) * SHAPES[shape](share)

    return factor
