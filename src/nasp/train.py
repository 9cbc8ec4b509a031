"""A derived network trained from scratch."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from lightning_fabric import seed_everything
from pydantic import Field
from torch import Tensor, nn
from torchvision.ops import StochasticDepth

from nasp.checkpointer import Checkpointer
from nasp.errors import UsageError
from nasp.events import Observer, nobody
from nasp.loop import EpochReport, StepReport, run_epochs
from nasp.meter import Meter
from nasp.recipe import Recipe
from nasp.runs import RunFolder
from nasp.stream import Stream, epoch_length
from nasp.tasks.batches import inputs_and_target
from nasp.tasks.image import ImageClassification, evaluate
from nasp.tasks.task import Batch


class TrainConfig(Recipe):
    """Settings of a training; the defaults are the paper's CIFAR-10 evaluation.

    Attributes:
        label_smoothing: of the cross entropy.
        auxiliary: weight of the auxiliary head's loss; 0 trains without the head.
        drop_path: probability, at the last epoch, that an edge is dropped for an example; it
            rises from 0 linearly.
    """

    epochs: int = Field(600, ge=1)
    lr_min: float = Field(0.0, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    auxiliary: float = Field(0.4, ge=0)
    drop_path: float = Field(0.2, ge=0, lt=1)


@dataclass(frozen=True)
class Trained:
    """What a training ends with.

    Attributes:
        network: with the weights of the last epoch.
        metrics: a line for each epoch.
        best: the line with the highest test accuracy, where there was a test.
        last: the last line.
    """

    network: nn.Module
    metrics: list[dict[str, Any]]

    @property
    def best(self) -> dict[str, Any]:
        """The line with the highest test accuracy."""
        return max(self.metrics, key=lambda line: float(line["test_accuracy"]))

    @property
    def last(self) -> dict[str, Any]:
        """The last line."""
        return self.metrics[-1]


class WithAuxiliaryHead(nn.Module):
    """A network and a second, training-only classifier on one of its inner outputs.

    Args:
        network: trained.
        tapped: name of the submodule whose output the head reads.
        head: maps it to logits ``[B, classes]``.
    """

    def __init__(self, network: nn.Module, tapped: str, head: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.head = head
        self.logits: Tensor | None = None
        self._features: Tensor | None = None
        network.get_submodule(tapped).register_forward_hook(self._keep)

    def _keep(self, _module: nn.Module, _inputs: Any, output: Tensor) -> None:
        self._features = output

    def forward(self, x: Tensor) -> Tensor:
        """Return the network's own logits; the head's are left in `logits` while training."""
        output: Tensor = self.network(x)
        self.logits = self.head(self._features) if self.training else None
        self._features = None
        return output


@dataclass(frozen=True)
class WithAuxiliaryLoss:
    """The task of a `WithAuxiliaryHead`: its loss and `weight` times the head's."""

    task: ImageClassification
    network: WithAuxiliaryHead
    weight: float

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return both losses' sum and the metrics of the network itself."""
        loss, metrics = self.task.loss(network, batch)
        if self.network.logits is None:
            return loss, metrics
        _, target = inputs_and_target(batch)
        auxiliary = F.cross_entropy(
            self.network.logits, target, label_smoothing=self.task.label_smoothing
        )
        return loss + self.weight * auxiliary, metrics


def train(
    network: nn.Module,
    train_loader: Iterable[Batch],
    test_loader: Iterable[Batch] | None,
    task: ImageClassification,
    config: TrainConfig,
    auxiliary: tuple[str, nn.Module] | None = None,
    run: RunFolder | None = None,
    observe: Observer = nobody,
) -> Trained:
    """Train a network; a run that was stopped goes on.

    Args:
        network: trained in place.
        train_loader: batches of augmented training images and labels.
        test_loader: batches of test images and labels, for a test after each epoch; None: no test.
        task: the classification.
        config: settings.
        auxiliary: what `Space.auxiliary_head` returned; used where ``config.auxiliary`` > 0.
        run: keeps metrics, checkpoints, and the weights of the best and the last epoch.
        observe: is told what happens.

    Raises:
        NaspError: the training failed, such as by a loss that is not finite.
        Interrupted: Ctrl-C; with `run` the same call goes on.
    """
    seed_everything(config.seed, verbose=False)
    steps = epoch_length(train_loader)
    trained, objective = network, task
    if auxiliary is not None and config.auxiliary > 0:
        trained = WithAuxiliaryHead(network, *auxiliary)
        objective = WithAuxiliaryLoss(task, trained, config.auxiliary)  # type: ignore[assignment]
    trained.train()
    learner = config.learner(trained, objective, list(trained.parameters()))
    schedule = config.schedule(learner)
    batches = Stream(train_loader, "The training loader")
    drop_path = DropPathSchedule(network, config.drop_path, config.epochs)
    best = Best()
    meter = Meter()
    checkpointer = Checkpointer(
        run,
        {
            "network": trained,
            "learner": learner,
            "schedule": schedule,
            "batches": batches,
            "drop_path": drop_path,
            "best": best,
            "meter": meter,
        },
        config.checkpoint_minutes,
    )

    def step() -> StepReport:
        metrics = learner.weight_step(next(batches))
        return StepReport({f"train_{name}": value for name, value in metrics.items()})

    def end_epoch(_epoch: int) -> EpochReport:
        lr = schedule.get_last_lr()[0]
        schedule.step()
        drop_path.step()
        if test_loader is None:
            return EpochReport({"lr": lr})
        measured = evaluate(learner.network, test_loader, task, learner.fabric.device)
        if run is not None and best.improved(measured["accuracy"]):
            run.save_tensors("best.safetensors", network.state_dict())
        return EpochReport({"lr": lr, **{f"test_{k}": v for k, v in measured.items()}})

    lines = run_epochs(config.epochs, steps, step, end_epoch, checkpointer, meter, run, observe)
    if run is not None:
        run.save_tensors("weights.safetensors", network.state_dict())
        lines = run.metrics()
    return Trained(network, lines)


class DropPathSchedule:
    """Raises the drop probability of all drop-path modules from 0 to `last`, epoch by epoch.

    Args:
        network: its `StochasticDepth` modules are set.
        last: the probability in the last epoch, approached linearly.
        epochs: in all.

    Raises:
        UsageError: `last` is above 0 and the network has no drop-path module.
    """

    def __init__(self, network: nn.Module, last: float, epochs: int) -> None:
        self.modules = [m for m in network.modules() if isinstance(m, StochasticDepth)]
        if last > 0 and not self.modules:
            raise UsageError("The network was built without drop-path: set drop_path to 0.")
        self.last, self.epochs, self.epoch = last, epochs, 0
        self._set()

    def step(self) -> None:
        """Go on to the next epoch."""
        self.epoch += 1
        self._set()

    def _set(self) -> None:
        for module in self.modules:
            module.p = self.last * self.epoch / self.epochs

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch."""
        return {"epoch": self.epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.epoch = state["epoch"]
        self._set()


class Best:
    """The highest accuracy so far."""

    def __init__(self) -> None:
        self.accuracy = -math.inf

    def improved(self, accuracy: float) -> bool:
        """Tell whether this is a new best, and remember it."""
        better = accuracy > self.accuracy
        self.accuracy = max(accuracy, self.accuracy)
        return better

    def state_dict(self) -> dict[str, Any]:
        """Return the accuracy."""
        return {"accuracy": self.accuracy}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.accuracy = state["accuracy"]
