"""A derived network trained from scratch."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import torch
from pydantic import Field
from torch import nn

from nasp.runs.checkpoints import Checkpointer
from nasp.runs.clock import Clock
from nasp.runs.folder import RunFolder
from nasp.training.accumulation import check_parts
from nasp.training.callbacks import Watchers
from nasp.training.evaluation import evaluation_mode
from nasp.training.events import Observer, nobody
from nasp.training.figures import figures
from nasp.training.learner import Learner
from nasp.training.loop import EpochReport, StepReport, run_epochs
from nasp.training.meter import Meter
from nasp.training.passes import EndlessPasses, epoch_length
from nasp.training.recipe import BaseRecipe, computing_as_set
from nasp.training.start import start_from
from nasp.training.task import (
    ACCURACY,
    Batch,
    Evaluates,
    Figure,
    Figured,
    Metrics,
    Task,
    score,
)
from nasp.training.together import say_ranks


class Course(Protocol):
    """What changes in a training from epoch to epoch; a part of its checkpoints."""

    def kept(self) -> nn.Module:
        """Return the network as it would be kept now."""
        ...

    def measurable(self) -> nn.Module:
        """Return what runs it in the precision of the training."""
        ...

    def end_epoch(self, measured: Mapping[str, float]) -> dict[str, Any]:
        """Go on to the next epoch, told how good what is kept is; return what the epoch had."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return all it needs to go on."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        ...


class TrainConfig(BaseRecipe):
    """Settings of a training; each kind of data has its own class of them: its recipe."""

    measured_on: ClassVar[str]
    """The part of the data that a network is measured on after each epoch."""

    minutes: float | None = Field(None, gt=0)
    """Begin no epoch once each network has trained so long; default no limit."""
    clock: Clock = "wall"
    """What counts that time: wall, or cpu, the processor's."""

    @property
    def network_fields(self) -> dict[str, Any]:
        """What the recipe asks of the network, as fields of its size; nothing."""
        return {}

    def for_hand_made(self) -> TrainConfig:
        """Return the recipe for a network that is of no search space; the same."""
        return self

    @abstractmethod
    def learner(self, network: nn.Module, task: Task, weights: Sequence[nn.Parameter]) -> Learner:
        """Return what moves the weights."""

    @abstractmethod
    def objective(
        self, network: nn.Module, task: Any, auxiliary: tuple[str, nn.Module] | None
    ) -> tuple[nn.Module, Task]:
        """Return what is trained, the network and all beside it, and the task that it trains on."""

    @abstractmethod
    def course(self, learner: Learner, network: nn.Module) -> Course:
        """Return what changes from epoch to epoch."""


@dataclass(frozen=True)
class Trained:
    """What a training ends with.

    Attributes:
        network: as it is kept, after the last epoch.
        metrics: a line for each epoch.
        figure: by which networks are compared.
        measured_on: the part of the data that it was measured on after each epoch.
    """

    network: nn.Module
    metrics: list[dict[str, Any]]
    figure: Figure
    measured_on: str

    @property
    def name(self) -> str:
        """What the figure is called in a line."""
        return f"{self.measured_on}_{self.figure.name}"

    @property
    def best(self) -> dict[str, Any]:
        """The line with the best figure, where it was measured."""
        choose = max if self.figure.higher_is_better else min
        return choose(self.metrics, key=lambda line: float(line[self.name]))

    @property
    def last(self) -> dict[str, Any]:
        """The last line."""
        return self.metrics[-1]


@computing_as_set
def train(
    network: nn.Module,
    train_loader: Iterable[Batch],
    test_loader: Iterable[Batch] | None,
    task: Task,
    config: TrainConfig,
    auxiliary: tuple[str, nn.Module] | None = None,
    run: RunFolder | None = None,
    observe: Observer = nobody,
    epoch_steps: int | None = None,
) -> Trained:
    """Train a network; a run that was stopped goes on.

    Args:
        network: trained in place.
        train_loader: batches of the training part, augmented.
        test_loader: batches that the network is measured on after each epoch; None: it is not.
        task: what the network is for.
        config: settings.
        auxiliary: what `Space.auxiliary_head` returned; used where ``config.auxiliary`` > 0.
        run: keeps metrics, checkpoints, and the weights of the best and the last epoch.
        observe: is told what happens.
        epoch_steps: of an epoch; default a pass over `train_loader`.

    Raises:
        NaspError: the training failed, such as by a loss that is not finite.
        Interrupted: Ctrl-C; with `run` the same call goes on.
    """
    steps = epoch_steps or epoch_length(train_loader)
    start_from(network, config.init, run, observe)
    config.ranks.alike([*network.parameters(), *network.buffers()])
    trained, objective = config.objective(network, task, auxiliary)
    trained.train()
    learner = config.learner(trained, objective, list(trained.parameters()))
    learner.steps_per_epoch = steps
    course = config.course(learner, network)
    batches = EndlessPasses(train_loader, "The training loader", objective, learner.ranks)
    say_ranks(run, learner.ranks, observe)
    if learner.parts > 1 and not isinstance(task, Evaluates):
        check_parts(learner, batches.peek())
    best = Best(Figure("score", higher_is_better=True))
    meter = Meter()
    checkpointer = Checkpointer(
        run,
        {
            "network": trained,
            "learner": learner,
            "course": course,
            "batches": batches,
            "best": best,
            "meter": meter,
            **({"watchers": observe} if isinstance(observe, Watchers) else {}),
        },
        config.checkpoint_minutes,
    )

    def step() -> StepReport:
        metrics = learner.weight_step(next(batches))
        return StepReport({f"train_{name}": value for name, value in metrics.items()})

    def end_epoch(_epoch: int) -> EpochReport:
        if test_loader is None:
            return EpochReport(course.end_epoch({}))
        network_now, device = course.measurable(), learner.fabric.device
        measured = learner.ranks.share(lambda: evaluated(network_now, test_loader, task, device))
        if run is not None and best.improved(score(task, measured)):
            run.save_tensors("best.safetensors", course.kept().state_dict())
        line = {f"{config.measured_on}_{name}": value for name, value in measured.items()}
        return EpochReport({**course.end_epoch(measured), **line})

    lines = run_epochs(
        config.epochs,
        steps,
        step,
        end_epoch,
        checkpointer,
        meter,
        run,
        observe,
        minutes=config.minutes,
        clock=config.clock,
        can_be_stopped=isinstance(observe, Watchers),
        ranks=learner.ranks,
    )
    learner.ranks.alike(list(course.kept().buffers()))
    if run is not None:
        run.save_tensors("weights.safetensors", course.kept().state_dict())
        lines = run.metrics()
    return Trained(course.kept(), lines, figure_in(task, lines, config), config.measured_on)


def evaluated(
    network: nn.Module, loader: Iterable[Batch], task: Task, device: torch.device
) -> Metrics:
    """Return what a network reaches, in evaluation mode: as the task measures it, or its means."""
    if isinstance(task, Evaluates):
        return task.evaluate(network, loader, device)
    with evaluation_mode(network):
        return figures(network, loader, task, device)


def figure_in(task: Task, lines: Sequence[Mapping[str, Any]], config: TrainConfig) -> Figure:
    """Return the figure that counts: the task's, else the accuracy, else the loss."""
    figure = task.figure if isinstance(task, Figured) else ACCURACY
    is_there = any(f"{config.measured_on}_{figure.name}" in line for line in lines)
    return figure if is_there or isinstance(task, Evaluates) else Figure("loss", False)


class Best:
    """The best figure so far.

    Args:
        figure: which way is better.
    """

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self.value = -math.inf if figure.higher_is_better else math.inf

    def improved(self, value: float) -> bool:
        """Tell whether this is a new best, and remember it."""
        better = value > self.value if self.figure.higher_is_better else value < self.value
        self.value = value if better else self.value
        return better

    def state_dict(self) -> dict[str, Any]:
        """Return the best."""
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.value = state["value"]
