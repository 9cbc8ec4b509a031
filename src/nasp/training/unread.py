"""Figures of a step that are still on the device: read after the backward pass, in one copy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from nasp.errors import NaspError
from nasp.supernet.host import to_host
from nasp.training.batches import Part
from nasp.training.task import Metrics


class NotFiniteError(NaspError):
    """A loss or a gradient is not finite: the training diverged, or the data are invalid."""


class Unread:
    """Losses and metrics of the parts of a batch.

    Attributes:
        parts: of each part its figures, and how they count.
    """

    def __init__(self) -> None:
        self.parts: list[tuple[Part, dict[str, Tensor | float]]] = []

    def add(self, part: Part, loss: Tensor, metrics: Mapping[str, Tensor]) -> None:
        """Take note of a part."""
        figures = {"loss": loss, **metrics}
        detached = {n: v.detach() if isinstance(v, Tensor) else v for n, v in figures.items()}
        self.parts.append((part._replace(batch=None), {**detached}))

    def totals(self, device: torch.device) -> tuple[list[str], Tensor]:
        """Return the names of the figures, and their sums over the parts, still on the device."""
        sums: dict[str, Tensor] = {}
        for part, figures in self.parts:
            for name, figure in figures.items():
                share = part.of_loss if name == "loss" else part.share
                value = share * torch.as_tensor(figure, device=device).detach()
                sums[name] = sums[name] + value if name in sums else value
        wide = sums["loss"].dtype if sums["loss"].dtype == torch.float64 else torch.float32
        return list(sums), torch.stack([value.to(wide).reshape(()) for value in sums.values()])


def read(
    several: Sequence[Unread], others: Sequence[Tensor] = (), must_be_finite: bool = True
) -> tuple[list[Metrics], list[Tensor]]:
    """Return the means of each batch, and more tensors that come to the CPU in the same copy.

    Raises:
        NotFiniteError: a loss is not finite, though it must be.
    """
    figures = [v for unread in several for _, its in unread.parts for v in its.values()]
    waiting = [value for value in figures if isinstance(value, Tensor)]
    came = to_host([*waiting, *others])
    values = iter(came)
    means: list[Metrics] = []
    for unread in several:
        totals: Metrics = {}
        for part, its in unread.parts:
            for name, figure in its.items():
                value = float(next(values) if isinstance(figure, Tensor) else figure)
                share = part.of_loss if name == "loss" else part.share
                totals[name] = totals.get(name, 0.0) + share * value
        if must_be_finite and not math.isfinite(totals["loss"]):
            raise NotFiniteError(
                f"The loss became {totals['loss']}: lower the learning rate, check the data"
                " for invalid values, or use precision 32-true; the run resumes from its last"
                " checkpoint."
            )
        means.append(totals)
    return means, came[len(waiting) :]
