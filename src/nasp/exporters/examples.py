"""Arguments of a network's forward: to look at it, and to compare two that must agree."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nasp.errors import NaspError, UsageError
from nasp.training.batches import mapped
from nasp.training.evaluation import evaluation_mode

RTOL, ATOL = 1e-3, 1e-4
"""How far the outputs of a network may be from those of the network exported."""


@dataclass(frozen=True)
class Example:
    """The arguments of a call: tensors, and anything else that a network takes.

    Attributes:
        arguments: those by position.
        named: those by name.
        batch_dim: the dimension of its tensors that counts examples; None: no size is free.
        free: other dimensions whose sizes are free.
    """

    arguments: tuple[Any, ...]
    named: Mapping[str, Any] = field(default_factory=dict)
    batch_dim: int | None = 0
    free: tuple[int, ...] = ()

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors, in order."""
        return [part for part in parts_of((self.arguments, self.named)) if isinstance(part, Tensor)]

    @property
    def batch(self) -> int | None:
        """How many examples it has; None where its tensors do not agree about that."""
        sizes = self._batch_sizes()
        return sizes.pop() if len(sizes) == 1 else None

    def call(self, network: Callable[..., Any]) -> Any:
        """Return what a network, or another function, makes of it."""
        return network(*self.arguments, **self.named)

    def run(self, network: nn.Module) -> Any:
        """Return what a network makes of it in evaluation, without a graph.

        Raises:
            UsageError: the network cannot be run on it.
        """
        with evaluation_mode(network), torch.no_grad():
            try:
                return self.call(network)
            except Exception as error:  # whatever a user's network raises
                raise UsageError(
                    "The network cannot be run on the example, which must be the arguments of its"
                    f" forward: {first_line(error)}"
                ) from error

    def of(self, batch: int) -> Example:
        """Return the like of it with another number of examples.

        Raises:
            UsageError: its tensors do not agree about the batch.
        """
        if self.batch is None or self.batch_dim is None:
            raise UsageError(
                "The example must be the network's arguments: tensors that agree in dimension"
                f" {self.batch_dim}, the batch (they have {sorted(self._batch_sizes()) or 'none'}"
                " there); with batch_dim=None all sizes stay as they are."
            )
        return self._resized(self.batch_dim, lambda _: batch)

    def larger(self) -> Example:
        """Return the like of it that is twice as large in each other dimension that is free."""
        example = self
        for dim in self.free:
            example = example._resized(dim, lambda size: 2 * size)
        return example

    def fixed(self) -> Example:
        """Return it with no size free."""
        return replace(self, batch_dim=None, free=())

    def free_sizes(self, other: Callable[[str], Any] = torch.export.Dim) -> Any:
        """Return the arguments, with each tensor's free sizes in its place; None: none is free.

        Args:
            other: makes what stands for a free size that is not the batch, of its name.
        """
        if self.batch_dim is None:
            return None
        seen: dict[tuple[int, int], Any] = {}

        def sizes(leaf: Any) -> Any:
            if is_dataclass(leaf):
                if type(leaf) not in pytree.SUPPORTED_NODES:
                    return None  # torch then says how to make it known
                return [sizes(getattr(leaf, each.name)) for each in fields(leaf)]
            found = {}
            for dim in (self.batch_dim, *self.free) if isinstance(leaf, Tensor) else ():
                if dim is not None and leaf.dim() > dim:
                    name = "batch" if dim == self.batch_dim else _SIZES.get(dim, f"size{dim}_")
                    make = torch.export.Dim if name == "batch" else other
                    count = sum(known == dim for known, _ in seen)
                    made = make(f"{name}{count or ''}")
                    found[dim] = seen.setdefault((dim, leaf.shape[dim]), made)
            return found or None

        return mapped(dict(self.named), sizes, is_dataclass) or mapped(
            self.arguments, sizes, is_dataclass
        )

    def _batch_sizes(self) -> set[int]:
        dim = self.batch_dim
        return set() if dim is None else {x.shape[dim] for x in self.tensors if x.dim() > dim}

    def _resized(self, dim: int, size: Callable[[int], int]) -> Example:
        def taken(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor) or leaf.dim() <= dim:
                return leaf
            places = torch.arange(size(leaf.shape[dim]), device=leaf.device) % leaf.shape[dim]
            return leaf.index_select(dim, places)

        arguments, named = mapped(self.arguments, taken), mapped(dict(self.named), taken)
        return replace(self, arguments=arguments, named=named)


def example_of(
    network: nn.Module, given: Any, batch_dim: int | None = 0, free: tuple[int, ...] = ()
) -> Example:
    """Return what a user gave as an example: a tuple of arguments, a mapping of named ones, or one.

    Named ones are brought into the order of the network's parameters.
    """
    if batch_dim is None and free:
        raise UsageError("Sizes are free beside the batch's: leave out dynamic, or give batch_dim.")
    if not isinstance(given, Mapping):
        return Example(given if type(given) is tuple else (given,), {}, batch_dim, free)
    order = list(inspect.signature(network.forward).parameters)
    known = [name for name in order if name in given]
    names = [*known, *(name for name in given if name not in known)]
    return Example((), {name: given[name] for name in names}, batch_dim, free)


_SIZES = {2: "height", 3: "width"}


def parts_of(value: Any) -> list[Any]:
    """Return all tensors, numbers and other things in lists, tuples, mappings and dataclasses."""
    if isinstance(value, Mapping):
        inside = list(value.values())
    elif isinstance(value, tuple | list):
        inside = list(value)
    elif is_dataclass(value) and not isinstance(value, type):
        inside = [getattr(value, each.name) for each in fields(value)]
    else:
        return [value]
    return [part for item in inside for part in parts_of(item)]


def same(one: Any, other: Any) -> bool:
    """Tell whether two results are equal, bit by bit."""
    ours, theirs = parts_of(one), parts_of(other)
    return type(one) is type(other) and len(ours) == len(theirs) and all(map(_equal, ours, theirs))


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    return bool(one == other)


@dataclass(frozen=True)
class Tool:
    """What writes a program of a network.

    Attributes:
        name: for an error's sentence.
        export: makes the file's content of an example, whose `free_sizes` are free.
        read: returns what computes the output's tensors by that content.
    """

    name: str
    export: Callable[[Example], bytes]
    read: Callable[[bytes], Callable[[Example], list[Tensor]]]


def checked_program(tool: Tool, network: nn.Module, example: Example) -> tuple[list[bytes], float]:
    """Return a network as a tool exports it for any batch, and its largest absolute difference.

    Args:
        tool: exports the network as it is in evaluation.
        network: a plain module.
        example: tried with 1 and with 5 of its like, and twice as large where that is free.

    Raises:
        UsageError: the network does not take other sizes than the example's.
        NaspError: the tool cannot express the network, or the outputs do not agree.
    """
    if example.batch_dim is None:
        return _checked(tool, network, example, [example])
    tries = [example.of(batch) for batch in (1, 5)]
    if example.free:
        tries.append(example.larger())
        try:
            tries[-1].run(network)
        except UsageError as error:
            raise UsageError(
                f"The network takes no example that is twice as large in dimensions"
                f" {', '.join(map(str, example.free))}: leave out dynamic ({error.__cause__})."
            ) from error
    try:
        # torch.export takes a batch of 1 for a constant.
        return _checked(tool, network, example.of(2), tries)
    except NaspError as error:
        if _is_expressed(tool, network, example):
            raise UsageError(
                f"{tool.name} can export this network for sizes that are fixed alone: somewhere in"
                " its forward a size becomes a number, as by len(x). Write x.size(0) or reshape"
                f" with -1 there, or fix the batch: batch={example.batch} (--batch"
                f" {example.batch})."
            ) from error
        raise


def _is_expressed(tool: Tool, network: nn.Module, example: Example) -> bool:
    try:
        _checked(tool, network, example.fixed(), [example.fixed()])
    except NaspError:
        return False
    return True


def _checked(
    tool: Tool, network: nn.Module, example: Example, tries: Sequence[Example]
) -> tuple[list[bytes], float]:
    with evaluation_mode(network):
        try:
            content = tool.export(example)
            run = tool.read(content)
            results = [(each, run(each)) for each in tries]
        except Exception as error:  # whatever torch and its parts raise
            cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
            raise NaspError(
                f"{tool.name} cannot export this network: {first_line(cause)}"
            ) from error
        return [content], max(_difference(network, *result) for result in results)


def _difference(network: nn.Module, example: Example, outputs: list[Tensor]) -> float:
    with torch.no_grad():
        output, ours = example.call(network), [leaf.detach().cpu() for leaf in outputs]
    theirs = [leaf.cpu() for leaf in parts_of(output) if isinstance(leaf, Tensor)]
    try:
        torch.testing.assert_close(ours, theirs, rtol=RTOL, atol=ATOL, check_dtype=False)
    except AssertionError as error:
        on = f" on a batch of {example.batch}" if example.batch else ""
        raise NaspError(
            f"The exported network does not agree with the network{on}: nothing was written."
            " Please report it."
        ) from error
    pairs = [(a.double() - b).abs() for a, b in zip(ours, theirs, strict=True) if a.numel()]
    return max((float(difference.max()) for difference in pairs), default=0.0)


def first_line(error: Exception) -> str:
    """Return the first line of what an error says."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
