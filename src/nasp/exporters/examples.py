"""Arguments of a network's forward: to look at it, and to compare two that must agree."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nasp.errors import NaspError, UsageError

RTOL, ATOL = 1e-3, 1e-4
"""How far the outputs of a network may be from those of the network exported."""


@dataclass(frozen=True)
class Example:
    """The arguments of a call.

    Attributes:
        arguments: tensors, or tuples, lists and dictionaries of them.
        batch_dim: the dimension of all its tensors that counts examples.

    Raises:
        UsageError: there is no tensor, or they disagree about the batch.
    """

    arguments: tuple[Any, ...]
    batch_dim: int = 0

    def __post_init__(self) -> None:
        sizes = {x.shape[self.batch_dim] for x in self.tensors if x.dim() > self.batch_dim}
        if len(sizes) != 1:
            raise UsageError(
                "The example must be the network's arguments: tensors that agree in dimension"
                f" {self.batch_dim}, the batch (they have {sorted(sizes) or 'none'} there)."
            )

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors, in order."""
        return [leaf for leaf in pytree.tree_leaves(self.arguments) if isinstance(leaf, Tensor)]

    @property
    def batch(self) -> int:
        """How many examples it has."""
        return int(next(x for x in self.tensors if x.dim() > self.batch_dim).shape[self.batch_dim])

    def run(self, network: nn.Module) -> Any:
        """Return what a network makes of it in evaluation, without a graph.

        Raises:
            UsageError: the network cannot be run on it.
        """
        with evaluating(network), torch.no_grad():
            try:
                return network(*self.arguments)
            except Exception as error:  # whatever a user's network raises
                raise UsageError(
                    "The network cannot be run on the example, which must be the arguments of its"
                    f" forward: {first_line(error)}"
                ) from error

    def of(self, batch: int) -> Example:
        """Return the like of it with another number of examples."""
        places = torch.arange(batch) % self.batch

        def taken(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor) or leaf.dim() <= self.batch_dim:
                return leaf
            return leaf.index_select(self.batch_dim, places.to(leaf.device))

        return Example(pytree.tree_map(taken, self.arguments), self.batch_dim)


def same(one: Any, other: Any) -> bool:
    """Tell whether two results are equal, bit by bit."""
    ours, our_form = pytree.tree_flatten(one)
    theirs, their_form = pytree.tree_flatten(other)
    return our_form == their_form and all(
        torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else bool(a == b)
        for a, b in zip(ours, theirs, strict=True)
    )


def checked_program(
    tool: str,
    network: nn.Module,
    example: Example,
    export: Callable[[tuple[Any, ...], Any], bytes],
    read: Callable[[bytes], Callable[[Example], list[Tensor]]],
) -> tuple[list[bytes], float]:
    """Return a network as a tool exports it for any batch, and its largest absolute difference.

    Args:
        tool: its name, for an error's sentence.
        network: a plain module; exported as it is in evaluation.
        example: tried with 1 and with 5 of its like.
        export: makes the file's content from arguments, and from which of their sizes are free.
        read: returns what computes the output's tensors by that content.

    Raises:
        NaspError: the tool cannot express the network, or the outputs do not agree.
    """
    arguments = example.of(2).arguments  # torch.export takes a batch of 1 for a constant
    size = {example.batch_dim: torch.export.Dim("batch")}
    sizes = pytree.tree_map(lambda leaf: size if isinstance(leaf, Tensor) else None, arguments)
    with evaluating(network):
        try:
            content = export(arguments, sizes)
        except Exception as error:  # whatever torch and its parts raise
            raise NaspError(f"{tool} cannot export this network: {first_line(error)}") from error
        run = read(content)
        return [content], max(_difference(network, run, example.of(batch)) for batch in (1, 5))


def _difference(
    network: nn.Module, exported: Callable[[Example], list[Tensor]], example: Example
) -> float:
    with torch.no_grad():
        output, ours = network(*example.arguments), [leaf.cpu() for leaf in exported(example)]
    theirs = [leaf.cpu() for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]
    try:
        torch.testing.assert_close(ours, theirs, rtol=RTOL, atol=ATOL, check_dtype=False)
    except AssertionError as error:
        raise NaspError(
            f"The exported network does not agree with the network on a batch of {example.batch}:"
            " nothing was written. Please report it."
        ) from error
    pairs = [(a.double() - b).abs() for a, b in zip(ours, theirs, strict=True) if a.numel()]
    return max((float(difference.max()) for difference in pairs), default=0.0)


def first_line(error: Exception) -> str:
    """Return the first line of what an error says."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode, and each module back into its own afterwards."""
    training = {module: module.training for module in network.modules()}
    network.eval()
    try:
        yield
    finally:
        for module, was in training.items():
            module.training = was
