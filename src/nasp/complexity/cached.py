"""What is measured once for operations of one structure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

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

    Those are the classes and attributes of all modules inside, and the parameters' shapes. An
    attribute that cannot be compared is like itself alone.
    """
    tensors = [*module.named_parameters(), *module.named_buffers()]
    return (
        tuple((name, type(part), _attributes(part)) for name, part in module.named_modules()),
        tuple((name, shape_of(tensor)) for name, tensor in tensors),
    )


_COMMON = frozenset(vars(nn.Module())) - {"training"}


def _attributes(module: nn.Module) -> Any:
    own = {name: value for name, value in vars(module).items() if name not in _COMMON}
    return tuple((name, _comparable(own[name])) for name in sorted(own))


def _comparable(value: Any) -> Any:
    if isinstance(value, Tensor):
        return shape_of(value)
    if isinstance(value, tuple | list):
        return tuple(map(_comparable, value))
    if isinstance(value, dict):
        return tuple((name, _comparable(entry)) for name, entry in value.items())
    try:
        hash(value)
    except TypeError:
        return _Itself(value)
    return value


@dataclass(frozen=True)
class _Itself:
    value: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other.value is self.value

    def __hash__(self) -> int:
        return id(self.value)
