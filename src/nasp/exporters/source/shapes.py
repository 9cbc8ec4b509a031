"""What goes in and out of each module, measured once and said with the names of its sizes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nasp.exporters.examples import Example, evaluating
from nasp.exporters.source.expressions import Written


@dataclass(frozen=True)
class Call:
    """The arguments of a module's first call and its result, tensors as their shapes."""

    inputs: tuple[Any, ...]
    output: Any


class Shapes:
    """The shapes of an example's way through a network.

    Args:
        network: run once, without a graph, as if it were used.
        example: its arguments.
    """

    def __init__(self, network: nn.Module, example: Example) -> None:
        self.calls: dict[int, Call] = {}
        self.example = example
        with _watched(network, self._see), evaluating(network), torch.no_grad():
            network(*example.arguments)

    def _see(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        inputs = _shapes((*args, *kwargs.values()))
        self.calls.setdefault(id(module), Call(inputs, _shapes(output)))

    def sentence(self, written: Written) -> str | None:
        """Return what a class maps to what: ``Map [B,C,H,W] to [B,2*C,H/2,W/2]``, and a stop."""
        calls = [self.calls.get(id(block.module)) for block in written.blocks]
        seen = [call for call in calls if call is not None]
        if len(seen) != len(calls):
            return None
        words = _Words(written, self.example)
        inputs = [words.say([call.inputs[i] for call in seen]) for i in range(len(seen[0].inputs))]
        output = words.say([call.output for call in seen])
        return f"Map {' and '.join(filter(None, inputs))} to {output}." if output else None

    def types(self, written: Written) -> tuple[list[str], str]:
        """Return the annotations of a class's inputs and of its output."""
        call = self.calls.get(id(written.first.module))
        if call is None:
            return [], "Tensor"
        return [_annotation(value) for value in call.inputs], _annotation(call.output)


class _Words:
    """Says dimensions by names: each letter means one size in each module of a class."""

    def __init__(self, written: Written, example: Example) -> None:
        self.batch, self.batch_dim = example.batch, example.batch_dim
        self.names: dict[tuple[int, ...], str] = {}
        self.steps: list[tuple[str, list[int]]] = []
        for parameter in written.parameters:
            values = parameter.values
            if not all(type(value) is int for value in values):
                continue
            if parameter.hint == "stride":
                self.steps.append((parameter.name, values))
            elif parameter.hint not in ("kernel_size", "padding", "dilation"):
                self.names[tuple(values)] = parameter.name
        self.places: dict[tuple[str, tuple[int, ...]], str] = {}

    def say(self, shapes: list[Any]) -> str | None:
        """Return what the value of every module is, or None for no tensors."""
        first = shapes[0]
        if isinstance(first, torch.Size):
            if any(len(shape) != len(first) for shape in shapes):
                return "[...]"
            columns = list(zip(*shapes, strict=True))
            return f"[{','.join(self._size(c, i, len(columns)) for i, c in enumerate(columns))}]"
        if isinstance(first, tuple | list):
            parts = [self.say(list(part)) for part in zip(*shapes, strict=False)]
            return f"({', '.join(filter(None, parts))})"
        return None

    def _size(self, sizes: tuple[int, ...], dimension: int, dimensions: int) -> str:
        if dimension == self.batch_dim and set(sizes) == {self.batch}:
            return "B"
        is_place = dimensions > 3 and dimension >= 2
        if not is_place:
            if sizes in self.names:
                return self.names[sizes]
            for times in (4, 3, 2):  # before all DARTS's cells, which return four times theirs
                smaller = tuple(size // times for size in sizes)
                if smaller in self.names and all(size % times == 0 for size in sizes):
                    return f"{times}*{self.names[smaller]}"
            if len(set(sizes)) == 1:
                return str(sizes[0])
        return self._place(sizes, dimension)

    def _place(self, sizes: tuple[int, ...], dimension: int) -> str:
        letter = "HWD"[dimension - 2] if 2 <= dimension <= 4 else "C"
        known = {theirs: name for (mine, theirs), name in self.places.items() if mine == letter}
        for theirs, name in known.items():
            if theirs == sizes:
                return name
            for step, strides in [*self.steps, *((str(n), [n] * len(sizes)) for n in (2, 4, 8))]:
                shrunk = [-(-size // stride) for size, stride in zip(theirs, strides, strict=True)]
                if shrunk == list(sizes):
                    return f"{name}/{step}"
        if set(sizes) == {1}:
            return "1"
        name = f"{letter}{len(known) or ''}"
        self.places[letter, sizes] = name
        return name


def _shapes(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.shape
    if isinstance(value, tuple | list):
        return type(value)(map(_shapes, value)) if type(value) in (tuple, list) else value
    if isinstance(value, dict):
        return {key: _shapes(item) for key, item in value.items()}
    return value


def _annotation(value: Any) -> str:
    if isinstance(value, torch.Size):
        return "Tensor"
    if isinstance(value, tuple):
        return f"tuple[{', '.join(map(_annotation, value))}]"
    if isinstance(value, list):
        return f"list[{_annotation(value[0])}]" if value else "list[Tensor]"
    if isinstance(value, dict):
        return f"dict[str, {_annotation(next(iter(value.values())))}]" if value else "dict"
    return "None" if value is None else type(value).__name__


@contextmanager
def _watched(network: nn.Module, see: Callable[..., None]) -> Iterator[None]:
    handles = [module.register_forward_hook(see, with_kwargs=True) for module in network.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
