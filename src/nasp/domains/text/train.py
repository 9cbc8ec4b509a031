"""How a language model is trained: the recipe of AWD-LSTM (Merity et al., ICLR 2018).

SGD at a constant rate until the validation loss stops falling, then the average of the weights
from there on (ASGD); penalties on the last layer's activations and on how fast they change.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from nasp.domains.text.task import LanguageModelling
from nasp.errors import UsageError
from nasp.spaces.language_model import Dropouts, LanguageModel
from nasp.training.learner import Learner
from nasp.training.task import Batch, Task
from nasp.training.train import TrainConfig

NEVER = 1e9
"""A step that no training reaches: where torch's ASGD begins to average, before the trigger."""


class TextTrainConfig(TrainConfig):
    """Settings of a training on text; the defaults are those of DARTS's evaluation."""

    measured_on: ClassVar[str] = "valid"

    epochs: int = Field(8000, ge=1)
    lr: float = Field(20.0, gt=0)
    weight_decay: float = Field(8e-7, ge=0)
    clip: float | None = Field(0.25, gt=0)
    dropouts: Dropouts = Field(default_factory=Dropouts)
    """Probability of dropout: output, hidden, input, embedding or word; repeatable."""
    activation: float = Field(0.0, ge=0)
    """Weight of the mean square of the last layer's outputs, after dropout (AR)."""
    slowness: float = Field(1e-3, ge=0)
    """Weight of the mean square of their change in a step, before dropout (TAR)."""
    patience: int = Field(5, ge=1)
    """Weights are averaged after an epoch whose validation loss is above the least one of all
    epochs but the last so many."""

    @property
    def network_fields(self) -> dict[str, Any]:
        """The probabilities of dropout."""
        return {"dropouts": self.dropouts}

    def learner(self, network: nn.Module, task: Task, weights: Sequence[nn.Parameter]) -> Learner:
        """Return what moves the weights: torch's ASGD, which does not average yet."""

        def asgd(parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
            return torch.optim.ASGD(
                parameters, lr=self.lr, lambd=0.0, t0=NEVER, weight_decay=self.weight_decay
            )

        return self.learner_with(asgd, network, task, weights)

    def objective(
        self,
        network: nn.Module,
        task: LanguageModelling,
        auxiliary: tuple[str, nn.Module] | None,
    ) -> tuple[nn.Module, Task]:
        """Return the network and its task, with the penalties that are wanted."""
        if auxiliary is not None:
            raise UsageError("A language model has no auxiliary head.")
        if self.activation == 0 and self.slowness == 0:
            return network, task
        assert isinstance(network, LanguageModel)
        return network, WithActivationPenalties(task, network, self.activation, self.slowness)

    def course(self, learner: Learner, network: nn.Module) -> Averaging:
        """Return what watches the validation loss, and averages."""
        return Averaging(learner, network, self.patience)


class WithActivationPenalties:
    """A task with penalties on the outputs of a language model's last layer.

    Args:
        task: gives the loss.
        network: its output dropout is listened to.
        activation: see `TextTrainConfig`.
        slowness: see `TextTrainConfig`.
    """

    def __init__(
        self, task: LanguageModelling, network: LanguageModel, activation: float, slowness: float
    ) -> None:
        self.task = task
        self.activation, self.slowness = activation, slowness
        self._outputs: tuple[Tensor, Tensor] | None = None
        network.output_dropout.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, args: tuple[Tensor], dropped: Tensor) -> None:
        self._outputs = (args[0], dropped) if module.training else None

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss with the penalties added, and the task's metrics."""
        loss, metrics = self.task.loss(network, batch)
        outputs, self._outputs = self._outputs, None
        if outputs is None:
            return loss, metrics
        raw, dropped = outputs  # [T, B, C]
        loss = loss + self.activation * dropped.square().mean()
        if len(raw) > 1:
            loss = loss + self.slowness * (raw[1:] - raw[:-1]).square().mean()
        return loss, metrics

    def pace(self, batch: Batch) -> float:
        """Return the task's pace."""
        return self.task.pace(batch)


class Averaging:
    """Begins to average the weights once the validation loss is no longer falling (NT-ASGD).

    The learner's optimiser is an ASGD that does not average yet; what it averages from the
    trigger on is what is measured and kept.

    Args:
        learner: trains the network.
        network: its weights go on as they are; the average is put into a copy.
        patience: see `TextTrainConfig`.
    """

    def __init__(self, learner: Learner, network: nn.Module, patience: int) -> None:
        self._learner, self._network = learner, network
        self._patience = patience
        self._losses: list[float] = []
        self._is_averaging = False
        self._average: tuple[nn.Module, nn.Module] | None = None

    def kept(self) -> nn.Module:
        """Return the network, or the copy that holds the average."""
        return self._averaged()[0] if self._is_averaging else self._network

    def measurable(self) -> nn.Module:
        """Return the same as the learner would run it."""
        return self._averaged()[1] if self._is_averaging else self._learner.network

    def end_epoch(self, measured: Mapping[str, float]) -> dict[str, Any]:
        """Look at the validation loss; return the learning rate and whether it was an average's."""
        groups = self._learner.optimizer.param_groups
        line = {"lr": groups[0]["lr"], "averaged": self._is_averaging}
        if not self._is_averaging and "loss" in measured:
            before = self._losses[: -self._patience]
            if before and measured["loss"] > min(before):
                self._is_averaging = True
                for group in groups:
                    group["t0"] = self._steps()
            self._losses.append(measured["loss"])
        return line

    def state_dict(self) -> dict[str, Any]:
        """Return the losses so far, and whether averaging has begun (since when, ASGD knows)."""
        return {"losses": self._losses, "is_averaging": self._is_averaging}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self._losses = list(state["losses"])
        self._is_averaging = state["is_averaging"]

    def _steps(self) -> float:
        states = self._learner.optimizer.state.values()
        return max(float(state["step"]) for state in states)

    def _averaged(self) -> tuple[nn.Module, nn.Module]:
        """Return the copy with the average as it now is, and what runs it."""
        if self._average is None:
            duplicate = copy.deepcopy(self._network)
            self._average = duplicate, self._learner.fabric.setup_module(duplicate)
        states = self._learner.optimizer.state
        pairs = zip(self._average[0].parameters(), self._network.parameters(), strict=True)
        with torch.no_grad():
            for average, weight in pairs:
                average.copy_(states[weight].get("ax", weight))
        return self._average
