"""What is measured once for operations of one structure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from nasp.complexity.calls import shape_of, shapes

Value = TypeVar("Value")


class Cached(Generic[Value]):
    """A measurement that is taken once for operations of one structure and inputs of one shape.

    Args:
        measure: called as ``measure(operation, *inputs)``.
    """

    def __init__(self, measure: Callable[..., Value]) -> None:
        self.measure = measure
        self.measured: dict[Any, Value] = {}

    def __call__(self, operation: nn.Module, *args: Any, **kwargs: Any) -> Value:
        """Return what is measured now, or was before."""
        key = structure(operation), shapes((args, kwargs))
        if key not in self.measured:
            self.measured[key] = self.measure(operation, *args, **kwargs)
        return self.measured[key]


def structure(module: nn.Module) -> Any:
    """Return what makes modules cost alike, to compare with `==`: it can be hashed.

    Those are the classes, attributes, buffers and hooks of all modules inside, and the parameters'
    shapes. An attribute that cannot be compared is like itself alone.
    """
    return (
        tuple((name, type(part), _attributes(part)) for name, part in module.named_modules()),
        tuple((name, shape_of(parameter)) for name, parameter in module.named_parameters()),
    )


_APART = frozenset({"_modules", "_parameters", "_non_persistent_buffers_set"})


def _attributes(module: nn.Module) -> Any:
    # Without what is empty, as are most of the dozen places for hooks.
    own = {n: v for n, v in vars(module).items() if n not in _APART and not _is_empty(v)}
    if type(module).__module__.startswith("torch."):  # statistics change nothing of what it does
        told = {n: v for n, v in own.items() if n[0] != "_" or n.endswith("hooks")}
        own = told | {name: shape_of(buffer) for name, buffer in module._buffers.items()}
    return tuple((name, _comparable(own[name])) for name in sorted(own))


def _is_empty(value: Any) -> bool:
    return isinstance(value, dict) and not value


def _comparable(value: Any) -> Any:
    if isinstance(value, Tensor):
        return shape_of(value), _content(value)
    if isinstance(value, tuple | list):
        return tuple(map(_comparable, value))
    if isinstance(value, dict):
        return tuple((name, _comparable(entry)) for name, entry in value.items())
    try:
        hash(value)
    except TypeError:
        return _Itself(value)
    return type(value), value  # 1, 1.0 and True are equal


def _content(tensor: Tensor) -> Any:
    """Return what a tensor holds, to compare; one whose bytes are not at hand is like itself."""
    if isinstance(tensor, nn.Parameter):
        return None
    try:
        flat = tensor.detach().cpu().contiguous().flatten()
        return sha256(flat.view(torch.uint8).numpy().tobytes()).digest()
    except (RuntimeError, NotImplementedError, TypeError):
        return _Itself(tensor)


@dataclass(frozen=True)
class _Itself:
    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)
