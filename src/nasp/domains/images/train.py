"""The recipe of a training on images."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field
from torch import nn

from nasp.domains.images.auxiliary import WithAuxiliaryHead, WithAuxiliaryLoss
from nasp.domains.images.drop_path import RatesWithDropPath
from nasp.domains.images.task import ImageClassification
from nasp.training.learner import Learner
from nasp.training.recipe import Recipe
from nasp.training.task import Task
from nasp.training.train import TrainConfig


class ImageTrainConfig(Recipe, TrainConfig):
    """Settings of a training on images; the defaults are the paper's CIFAR-10 evaluation."""

    measured_on: ClassVar[str] = "val"

    epochs: int = Field(600, ge=1)
    lr_min: float | None = Field(0.0, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Label smoothing of the cross entropy."""
    auxiliary: float = Field(0.4, ge=0)
    """Weight of the auxiliary head's loss; 0 trains without the head."""
    drop_path: float = Field(0.2, ge=0, lt=1)
    """Probability, at the last epoch, that an edge is dropped for an example; it rises from 0
    linearly."""

    @property
    def network_fields(self) -> dict[str, Any]:
        """Edges that can be dropped, where some are to be."""
        return {"drop_path": self.drop_path > 0}

    def for_hand_made(self) -> ImageTrainConfig:
        """Return the recipe without what needs cells."""
        return self.model_copy(update={"drop_path": 0.0, "auxiliary": 0.0})

    def objective(
        self,
        network: nn.Module,
        task: ImageClassification,
        auxiliary: tuple[str, nn.Module] | None,
    ) -> tuple[nn.Module, Task]:
        """Return the network and its task, with the auxiliary head where it is wanted."""
        if auxiliary is None or self.auxiliary == 0:
            return network, task
        with_head = WithAuxiliaryHead(network, *auxiliary)
        return with_head, WithAuxiliaryLoss(task, with_head, self.auxiliary)

    def course(self, learner: Learner, network: nn.Module) -> RatesWithDropPath:
        """Return the learning rate's schedule and the rise of drop-path."""
        rates = self.rates(learner)
        return RatesWithDropPath(learner, network, rates, self.drop_path, self.epochs)
