"""What a network reaches on a loader: means over its examples, and metrics over all of it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from nasp.errors import UsageError
from nasp.training.batches import batch_length, moved
from nasp.training.evaluation import measured_loss
from nasp.training.supervised import Supervised
from nasp.training.task import Batch, Metrics, Task


def figures(
    network: Any, batches: Iterable[Batch], task: Task, device: torch.device | str
) -> Metrics:
    """Return loss and metrics over all batches; see `figures_and_errors`."""
    return figures_and_errors(network, batches, task, device)[0]


def figures_and_errors(
    network: Any, batches: Iterable[Batch], task: Task, device: torch.device | str
) -> tuple[Metrics, Metrics]:
    """Return loss and metrics as means over the examples, and the task's own over all of them.

    With them comes the standard error of each mean: how far it may be off because there are no
    more batches than these. A single batch does not tell, nor does a metric of its own.

    Args:
        network: on the device, in the mode in which it is to be measured.
        batches: one pass; a batch whose examples cannot be counted weighs as one, and one of a
            loss that divides by its labels as much as these.
        task: the task; of a `Supervised` its `metrics` are measured over all outputs together.
        device: the batches are moved there.

    Raises:
        UsageError: there is no batch, or a metric gives no number.
    """
    means: dict[str, _Mean] = {}
    examples = 0
    tallies = [
        _Tally(name, metric, torch.device(device))
        for name, metric in (task.metrics if isinstance(task, Supervised) else {}).items()
    ]
    running: Any = _Listening(network) if tallies else network
    for batch in batches:
        here = moved(batch, torch.device(device))
        length = batch_length(batch) or 1
        loss, metrics = measured_loss(task, running, here)
        divisor = task.divisor(here) if isinstance(task, Supervised) else None
        for name, value in {"loss": loss, **metrics}.items():
            weight: float = length
            if divisor is not None:
                weight = (divisor.loss or length) if name == "loss" else divisor.labels
            if divisor is None or divisor.labels > 0:  # else all labels are ignored
                means.setdefault(name, _Mean()).add(float(value), weight)
        for tally in tallies:
            tally.add(running.output, here[-1])
        examples += length
    if examples == 0:
        raise UsageError("The validation loader gives no batch: it needs at least one.")
    own = {tally.name: tally.value() for tally in tallies}
    errors = {name: mean.error() for name, mean in means.items() if name not in own}
    known = {name: error for name, error in errors.items() if error is not None}
    return {**{name: mean.total / mean.weight for name, mean in means.items()}, **own}, known


class _Mean:
    """The weighted mean of a figure of each batch."""

    def __init__(self) -> None:
        self.total = self.weight = 0.0
        self._values: list[tuple[float, float]] = []

    def add(self, value: float, weight: float) -> None:
        self.total += weight * value
        self.weight += weight
        self._values.append((value, weight))

    def error(self) -> float | None:
        """Return its standard error; None of a single batch."""
        if len(self._values) < 2:
            return None
        mean = self.total / self.weight
        squares = math.fsum(weight * (value - mean) ** 2 for value, weight in self._values)
        return math.sqrt(squares / (self.weight * (len(self._values) - 1)))


class _Listening:
    """Runs a network, and remembers its output."""

    def __init__(self, network: Any) -> None:
        self.network = network
        self.output: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.output = self.network(*args, **kwargs)
        return self.output


@contextmanager
def _alone(metric: Any) -> Iterator[None]:
    """Keep a metric of torchmetrics from asking other processes, which measure nothing."""
    parts = list(metric.modules()) if isinstance(metric, nn.Module) else []
    name = "distributed_available_fn"
    before = [(part, getattr(part, name)) for part in parts if hasattr(part, name)]
    for part, _ in before:
        setattr(part, name, lambda: False)
    try:
        yield
    finally:
        for part, available in before:
            setattr(part, name, available)


class _Tally:
    """A metric over a whole loader: an object that adds up, or a function of all at once."""

    def __init__(self, name: str, metric: Any, device: torch.device) -> None:
        self.name, self.metric = name, metric
        self.adds_up = all(hasattr(metric, each) for each in ("update", "compute", "reset"))
        self.outputs: list[Tensor] = []
        self.targets: list[Tensor] = []
        if self.adds_up:
            self.metric = metric.to(device) if hasattr(metric, "to") else metric
            self.metric.reset()
        elif not callable(metric):
            raise UsageError(
                f"The metric '{name}' is a {type(metric).__name__}: give a function of output and"
                " target, or an object with update, compute and reset."
            )

    def add(self, output: Any, target: Any) -> None:
        if self.adds_up:
            self.metric.update(output, target)
        else:
            if not (isinstance(output, Tensor) and isinstance(target, Tensor)):
                raise UsageError(
                    f"The metric '{self.name}' is a function of all outputs, which are no tensors:"
                    " give an object with update, compute and reset."
                )
            self.outputs.append(output.detach().cpu())
            self.targets.append(target.cpu())

    def value(self) -> float:
        if self.adds_up:
            with _alone(self.metric):
                value = self.metric.compute()
        else:
            value = self.metric(torch.cat(self.outputs), torch.cat(self.targets))
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise UsageError(
                f"The metric '{self.name}' gives no number but a {type(value).__name__}: average"
                " it, or give one metric a class."
            ) from error
