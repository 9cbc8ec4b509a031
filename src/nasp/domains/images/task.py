"""The task of image classification: cross entropy, top-1 and top-5 accuracy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.aggregation import MeanMetric
from torchmetrics.classification import MulticlassAccuracy

from nasp.errors import NaspError
from nasp.training.batches import inputs_and_target
from nasp.training.evaluation import evaluation_mode
from nasp.training.task import Batch, Figure

ACCURACY = Figure("accuracy", higher_is_better=True)
BALANCED = Figure("balanced_accuracy", higher_is_better=True)


@dataclass(frozen=True)
class ImageClassification:
    """Tell which of several classes an image belongs to; a `MeasuredTask`.

    A batch is a tuple or list: the network's inputs, then the target, int64 `[B]`. The network
    must return logits `[B, classes]`.

    Attributes:
        classes: how many there are.
        label_smoothing: of the training loss, default 0; `evaluate` never smooths.
        balanced: whether networks are compared by balanced accuracy.
    """

    classes: int
    label_smoothing: float = 0.0
    balanced: bool = False

    def loss(self, network: nn.Module, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean cross entropy, and `accuracy` (with more than 5 classes also `top5`).

        Accuracies are fractions, detached float32 scalars on the network's device.

        Raises:
            UsageError: the batch is no sequence of inputs and target.
            NaspError: logits or target have another shape or range than expected. The range is
                checked on the CPU only: on a GPU the look would halt every step.
        """
        inputs, target = inputs_and_target(batch)
        logits = self._checked(network(*inputs), target)
        loss = F.cross_entropy(logits, target, label_smoothing=self.label_smoothing)
        with torch.no_grad():
            metrics = {"accuracy": (logits.argmax(1) == target).float().mean()}
            if self.has_top5:
                best = logits.topk(5, dim=1).indices
                metrics["top5"] = (best == target.unsqueeze(1)).any(1).float().mean()
        return loss, metrics

    @property
    def figure(self) -> Figure:
        """Accuracy, balanced where that is wanted: the higher, the better."""
        return BALANCED if self.balanced else ACCURACY

    def evaluate(
        self, network: nn.Module, loader: Iterable[Batch], device: torch.device | str = "cpu"
    ) -> dict[str, float]:
        """Measure a network on all batches, in evaluation mode and without gradients.

        Args:
            network: on `device` already; each of its modules gets its training mode back.
            loader: batches as `loss` wants them, on any device.
            device: the batches are moved there.

        Returns:
            `loss` (mean cross entropy an image, unsmoothed), `accuracy`, `balanced_accuracy` (the
            mean over the classes of the share of their images that are told right), and `top5` with
            more than 5 classes; accuracies are fractions.

        Raises:
            UsageError: a batch is no sequence of inputs and target.
            NaspError: there is no batch, or shapes are wrong.
        """
        metrics: dict[str, Metric] = {"accuracy": _accuracy(self.classes, 1)}
        if self.has_top5:
            metrics["top5"] = _accuracy(self.classes, 5)
        numbers = torch.arange(self.classes, device=device)
        there, right = torch.zeros_like(numbers), torch.zeros_like(numbers)
        mean_loss = MeanMetric(sync_on_compute=False).to(device)
        for metric in metrics.values():
            metric.to(device)
        images = 0
        with evaluation_mode(network), torch.no_grad():
            for batch in loader:
                inputs, target = inputs_and_target(batch)
                moved = [x.to(device, non_blocking=True) for x in inputs]
                target = target.to(device, non_blocking=True)
                logits = self._checked(network(*moved), target)
                # float: the loss and the ranks of a test must not depend on autocast
                logits = logits.float()
                mean_loss.update(F.cross_entropy(logits, target), weight=len(target))
                for metric in metrics.values():
                    metric.update(logits, target)
                of_class = target[:, None] == numbers
                there += of_class.sum(0)
                right += of_class[logits.argmax(1) == target].sum(0)
                images += len(target)
        if images == 0:
            raise NaspError("There is nothing to evaluate: the loader yields no images.")
        there, right = there.cpu().double(), right.cpu()
        recalls = right[there > 0] / there[there > 0]
        return {
            "loss": float(mean_loss.compute()),
            **{name: float(metric.compute()) for name, metric in metrics.items()},
            "balanced_accuracy": float(recalls.mean()),
        }

    @property
    def is_static(self) -> bool:
        """True: a step may be replayed as a CUDA graph."""
        return True

    @property
    def has_top5(self) -> bool:
        """Whether top-5 accuracy says anything: with five classes it is always 1."""
        return self.classes > 5

    def _checked(self, logits: object, target: Tensor) -> Tensor:
        if target.ndim != 1 or target.dtype != torch.int64:
            raise NaspError(
                f"The target has shape {list(target.shape)} and type {target.dtype}:"
                " expected [B] of torch.int64, one class index an image."
            )
        expected = [len(target), self.classes]
        if not isinstance(logits, Tensor):
            raise NaspError(
                f"The network returned a {type(logits).__name__}: expected logits {expected}."
            )
        if list(logits.shape) != expected:
            raise NaspError(
                f"The network returned the shape {list(logits.shape)}:"
                f" expected logits {expected}, [B, classes]."
            )
        if target.device.type == "cpu":
            low, high = (int(bound) for bound in target.aminmax())
            if low < 0 or high >= self.classes:
                raise NaspError(
                    f"The target has classes {low} to {high}:"
                    f" expected 0 to {self.classes - 1}, since there are {self.classes} classes."
                )
        return logits


def _accuracy(classes: int, top_k: int) -> Metric:
    # Micro: each image counts once. Checks are off because they copy to the CPU a batch;
    # _checked has done them.
    # Of several processes one measures, so it asks no other.
    return MulticlassAccuracy(
        classes, top_k=top_k, average="micro", validate_args=False, sync_on_compute=False
    )
