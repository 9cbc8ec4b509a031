"""What goes in and out of each module, measured once and said with the names of its sizes."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from nasp.exporters.examples import Example
from nasp.exporters.source.classes import Written
from nasp.training.batches import mapped

_NO_WIDTHS = ("stride", "kernel_size", "padding", "dilation")


class Shapes:
    """The shapes of an example's way through a network.

    Args:
        network: run once, without a graph, as if it were used.
        example: its arguments.
    """

    def __init__(self, network: nn.Module, example: Example) -> None:
        self.example = example
        self._calls: dict[nn.Module, tuple[list[Any], Any]] = {}  # inputs and output of the first

        def see(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if kwargs:  # in the order of forward's parameters
                bound = inspect.signature(module.forward).bind(*args, **kwargs)
                bound.apply_defaults()
                args = bound.arguments.values()
            self._calls.setdefault(module, (mapped(list(args), _shape), mapped(output, _shape)))

        with nn.modules.module.register_module_forward_hook(see, with_kwargs=True):
            example.run(network)

    def sentence(self, written: Written) -> str | None:
        """Return what a class maps to what: ``Map [B,C,H,W] to [B,2*C,H/2,W/2]``, and a stop."""
        calls = [self._calls.get(part.module) for part in written.parts]
        seen = [call for call in calls if call is not None]
        if len(seen) != len(calls):
            return None
        words = _Words(written, self.example)
        inputs = [words.say(shapes) for shapes in zip(*(given for given, _ in seen), strict=False)]
        output = words.say([output for _, output in seen])
        return f"Map {' and '.join(filter(None, inputs))} to {output}." if output else None

    def types(self, written: Written) -> tuple[list[str], str]:
        """Return the annotations of a class's inputs and of its output."""
        inputs, output = self._calls.get(written.parts[0].module, ([], torch.Size()))
        return list(map(_annotation, inputs)), _annotation(output)


class _Words:
    """Says dimensions by names: each letter means one size in each module of a class."""

    def __init__(self, written: Written, example: Example) -> None:
        self.example = example
        sizes = [p for p in written.parameters if all(type(value) is int for value in p.values)]
        self.names = {tuple(p.values): p.text for p in sizes if p.hint not in _NO_WIDTHS}
        self.steps = [(p.text, p.values) for p in sizes if p.hint == "stride"]
        self.steps += [(str(step), [step] * len(written.parts)) for step in (2, 4, 8)]
        self.places: dict[str, dict[tuple[int, ...], str]] = {}  # of each letter

    def say(self, shapes: Any) -> str | None:
        """Return what the value of every module is, or None for no tensors."""
        first = shapes[0]
        if isinstance(first, torch.Size):
            if any(len(shape) != len(first) for shape in shapes):
                return "[...]"
            columns = enumerate(zip(*shapes, strict=True))
            return f"[{','.join(self._size(sizes, i, len(first)) for i, sizes in columns)}]"
        if isinstance(first, tuple | list) and not isinstance(first, PackedSequence):
            parts = map(self.say, zip(*shapes, strict=False))
            return f"({', '.join(filter(None, parts))})"
        return None

    def _size(self, sizes: tuple[int, ...], dimension: int, dimensions: int) -> str:
        if dimension == self.example.batch_dim and set(sizes) == {self.example.batch}:
            return "B"
        if dimensions > 3 and dimension >= 2:
            return self._place(sizes, "HWD"[dimension - 2] if dimension <= 4 else "C")
        for times in (1, 4, 3, 2):  # four before two: DARTS's cells return four times theirs
            smaller = tuple(size // times for size in sizes)
            if smaller in self.names and all(size % times == 0 for size in sizes):
                return f"{times}*{self.names[smaller]}".removeprefix("1*")
        return str(sizes[0]) if len(set(sizes)) == 1 else self._place(sizes, "C")

    def _place(self, sizes: tuple[int, ...], letter: str) -> str:
        known = self.places.setdefault(letter, {})
        for theirs, name in known.items():
            if theirs == sizes:
                return name
            for step, strides in self.steps:
                if sizes == tuple(-(-n // by) for n, by in zip(theirs, strides, strict=True)):
                    return f"{name}/{step}"
        if set(sizes) == {1}:
            return "1"
        return known.setdefault(sizes, f"{letter}{len(known) or ''}")


def _shape(leaf: Any) -> Any:
    return leaf.shape if isinstance(leaf, Tensor) else leaf


def _annotation(value: Any) -> str:
    if isinstance(value, torch.Size):
        return "Tensor"
    if isinstance(value, PackedSequence):
        return "nn.utils.rnn.PackedSequence"
    if isinstance(value, tuple):
        return f"tuple[{', '.join(map(_annotation, value))}]"
    if isinstance(value, list):
        return f"list[{_annotation(value[0])}]" if value else "list[Tensor]"
    if isinstance(value, dict):
        return f"dict[str, {_annotation(next(iter(value.values())))}]" if value else "dict"
    return "None" if value is None else type(value).__name__
