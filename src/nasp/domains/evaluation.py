"""What is found out about a network on examples that it did not learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SHOWN_MISTAKES = 36


@dataclass(frozen=True)
class Mistake:
    """An example that was taken for another class.

    Attributes:
        example: its file, or its place among the examples.
        label: the class that it is of.
        predicted: the class that the network says.
        probability: how sure it is of that.
        picture: what there is to be seen, uint8 ``[C, H, W]``.
    """

    example: str
    label: str
    predicted: str
    probability: float
    picture: Tensor


@dataclass(frozen=True)
class Evaluation:
    """What was found out.

    Attributes:
        on: the examples, in words.
        figures: name -> figure.
        classes: their names; empty where there are none.
        confusion: int64 ``[classes, classes]``: how many of a class (row) were taken for which.
        mistakes: the worst, of which the network was surest, first.
    """

    on: str
    figures: dict[str, float]
    classes: Sequence[str] = ()
    confusion: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.int64))
    mistakes: Sequence[Mistake] = ()

    def by_class(self) -> list[dict[str, Any]]:
        """Return of each class its precision, its recall and how many examples it has.

        A figure without an example that it could be of is None.
        """
        right = self.confusion.diagonal().tolist()
        said, there = (self.confusion.sum(dim).tolist() for dim in (0, 1))
        return [
            {
                "class": name,
                "precision": right[i] / said[i] if said[i] else None,
                "recall": right[i] / there[i] if there[i] else None,
                "examples": there[i],
            }
            for i, name in enumerate(self.classes)
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return all but the pictures as plain values."""
        plain: dict[str, Any] = {"on": self.on, "figures": self.figures}
        if self.classes:
            names = ("example", "label", "predicted", "probability")
            plain["classes"] = self.by_class()
            plain["confusion"] = self.confusion.tolist()
            plain["mistakes"] = [{n: getattr(each, n) for n in names} for each in self.mistakes]
        return plain


def classified(
    on: str,
    logits: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    examples: Sequence[str],
    picture: Callable[[int], Tensor],
) -> Evaluation:
    """Return what logits say of examples.

    Args:
        on: see `Evaluation`.
        logits: float ``[N, classes]``, N at least 1.
        labels: int64 ``[N]``.
        classes: names.
        examples: N names.
        picture: the picture of an example, by its place.
    """
    count, predicted = len(classes), logits.argmax(1)
    confusion = torch.bincount(labels * count + predicted, minlength=count**2).view(count, count)
    there = confusion.sum(1)
    recall = confusion.diagonal()[there > 0] / there[there > 0]
    figures = {
        "accuracy": float((predicted == labels).double().mean()),
        "balanced_accuracy": float(recall.double().mean()),
        "loss": float(F.cross_entropy(logits, labels)),
    }
    if count > 5:
        best = logits.topk(5, dim=1).indices
        figures["top5"] = float((best == labels[:, None]).any(1).double().mean())
    sure = logits.softmax(1).amax(1).where(predicted != labels, torch.tensor(-1.0))
    worst = [i for i in sure.argsort(descending=True, stable=True).tolist() if sure[i] >= 0]
    mistakes = [
        Mistake(
            examples[i],
            classes[int(labels[i])],
            classes[int(predicted[i])],
            float(sure[i]),
            picture(i),
        )
        for i in worst[:SHOWN_MISTAKES]
    ]
    return Evaluation(on, figures, classes, confusion, mistakes)
