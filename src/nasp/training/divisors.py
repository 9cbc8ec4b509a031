"""By what torch's losses divide: a batch's mean is not always the mean of its parts' means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

_BY_LABEL: tuple[Any, ...] = (F.cross_entropy, F.nll_loss)
_MODULES_BY_LABEL: tuple[type[nn.Module], ...] = (nn.CrossEntropyLoss, nn.NLLLoss)


class Divisor(NamedTuple):
    """What a loss divides by.

    Attributes:
        loss: the sum of the labels' weights; None where the loss is a sum and divides by nothing.
        labels: how many labels are not ignored: what a metric divides by.
    """

    loss: float | None
    labels: float


def is_known(criterion: Callable[..., Any]) -> bool:
    """Tell whether a loss is one of torch's own, which divides by examples or as `divisor` says."""
    function, _ = _unwrapped(criterion)
    module = type(function)
    is_own = isinstance(function, nn.modules.loss._Loss) and module.__module__.startswith("torch.")
    return is_own or getattr(function, "__module__", None) == "torch.nn.functional"


def ignored_label(criterion: Callable[..., Any]) -> int | None:
    """Return the label that a loss of torch's ignores; None where it knows none."""
    settings = _settings_by_label(criterion)
    return None if settings is None else int(settings.get("ignore_index", -100))


def divisor(criterion: Callable[..., Any], target: Any) -> Divisor | None:
    """Return by what a known loss divides; None where that is the number of examples.

    Args:
        criterion: a loss of output and target.
        target: class labels, int64 of any shape, for a loss that divides by them.
    """
    _, settings = _unwrapped(criterion)
    by_label = _settings_by_label(criterion)
    is_sum = is_known(criterion) and settings.get("reduction", "mean") == "sum"
    if by_label is None or not isinstance(target, Tensor) or target.is_floating_point():
        return Divisor(None, float(len(target))) if is_sum and isinstance(target, Tensor) else None
    counted = target != by_label.get("ignore_index", -100)
    labels = float(counted.sum())
    weight = by_label.get("weight")
    if is_sum:
        return Divisor(None, labels)
    if weight is None:
        return Divisor(labels, labels)
    return Divisor(float(weight.to(target.device)[target[counted]].sum()), labels)


def _unwrapped(criterion: Callable[..., Any]) -> tuple[Any, Mapping[str, Any]]:
    """Return a loss's function or module, and its settings."""
    if isinstance(criterion, partial):
        return criterion.func, criterion.keywords
    if isinstance(criterion, nn.Module):
        names = ("reduction", "ignore_index", "weight")
        return criterion, {n: getattr(criterion, n) for n in names if hasattr(criterion, n)}
    return criterion, {}


def _settings_by_label(criterion: Callable[..., Any]) -> Mapping[str, Any] | None:
    function, settings = _unwrapped(criterion)
    return settings if function in _BY_LABEL or type(function) in _MODULES_BY_LABEL else None
