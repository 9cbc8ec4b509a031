"""One edge of a network that is captured in pieces: the same memory in every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nasp.supernet.choice import Choice
from nasp.supernet.probe.edge import ForwardState
from nasp.supernet.probe.features import layout_of
from nasp.supernet.probe.products import Read
from nasp.training.pieces.chain import Chain, Graph


class UnfitError(RuntimeError):
    """The network is not made of edges that each read one image batch, once a pass."""


class Note(NamedTuple):
    """What a candidate notes of a batch, and a place to keep it."""

    noted: Tensor
    kept: Tensor


class Turn(NamedTuple):
    """A candidate on an edge.

    Attributes:
        forward: writes its output.
        backward: gives its gradients; None: there is nothing to do.
        weights: the places of those that get one.
        passes: whether the edge's input gets one, as it does not from a `none`.
        notes: what it notes of a batch.
    """

    forward: Graph
    backward: Graph | None
    weights: list[int]
    passes: bool
    notes: list[Note]


class Upstream(NamedTuple):
    """What a gradient reaches before it comes to other edges, and these.

    Attributes:
        edges: the next ones.
        weights: the places of those before them.
    """

    edges: set[Edge]
    weights: set[int]

    @staticmethod
    def of(tensor: Tensor, places: Mapping[Tensor, int]) -> Upstream:
        """Follow a tensor's graph back."""
        found, seen, waiting = Upstream(set(), set()), set(), [tensor.grad_fn]
        while waiting:
            node = waiting.pop()
            if node is None or node in seen:
                continue
            seen.add(node)
            edge = getattr(node, "edge", None)
            if isinstance(edge, Edge):
                found.edges.add(edge)
            elif hasattr(node, "variable"):
                found.weights.update({places[node.variable]} if node.variable in places else ())
            else:
                waiting += [before for before, _ in node.next_functions]
        return found


class Readers:
    """The edges that read one tensor, and the gradient that they give it together.

    Each adds its part to what those before it gave: autograd would need a kernel for each sum,
    between two cuts, and so a graph of its own.

    Args:
        x: of the form of what they read.
    """

    def __init__(self, x: Tensor) -> None:
        # Not while a graph is captured: its memory is others', earlier in a step.
        self.gradient = torch.empty_like(x)
        self.count = 0
        self._arrived = 0

    def arrive(self) -> tuple[bool, bool]:
        """Tell whether a reader is the first in a backward pass, and whether the last."""
        self._arrived = self._arrived % self.count + 1
        return self._arrived == 1, self._arrived == self.count


class Edge:
    """Where an edge reads and writes in every step, forward and backward.

    Args:
        number: in `Supernet.edges`.
        choice: on the edge.
        readers: of what it reads, itself among them.
        output: of the form of its candidates' outputs.

    Attributes:
        upstream: of what it reads.
        is_first: whether it is the first of the readers in the backward pass.
        is_off: whether what stands where the edge writes are zeros, of a path without it.
    """

    def __init__(self, number: int, choice: Choice, readers: Readers, output: Tensor) -> None:
        self.number = number
        self.choice = choice
        self.readers = readers
        readers.count += 1
        self.output = torch.empty_like(output)  # before a graph is captured, as in `Readers`
        self.turns: dict[int | None, Turn] = {}
        self.is_off = False
        self.is_first = True
        self.upstream: Upstream
        self._x: Tensor
        self._gradient: Tensor | None = None
        self._versions = 0, 0

    def taken(self, chain: Chain[Cut], anchor: Tensor, x: Tensor, upstream: Upstream) -> Tensor:
        """Return the output, the chain cut for whoever writes it and its input's gradient.

        Args:
            chain: in which the pass is captured.
            anchor: a leaf, which makes the backward pass come here.
            x: what the edge reads.
            upstream: of that.
        """
        self.upstream, self._x = upstream, x.detach()
        self._versions = x._version, self.output._version
        output: Tensor = _Taken.apply(chain, self, anchor, x)
        return output

    def reached_by(self, gradient: Tensor) -> None:
        """Take the gradient that reaches the output."""
        self._gradient = gradient

    def check(self) -> None:
        """Raise `UnfitError` where the edge's tensors are not what every step needs."""
        if self._gradient is None:
            raise UnfitError("no gradient reaches an edge")
        if (self._x._version, self.output._version) != self._versions:
            raise UnfitError("what an edge read or gave is changed in place afterwards")

    @torch.no_grad()
    def forward(self, operation: nn.Module | None) -> None:
        """Write what the operation makes of the input; without one, zeros."""
        if operation is None:
            self.output.zero_()
        else:
            _write(self.output, operation(self._x))

    def backward(
        self,
        operation: nn.Module | None,
        weights: Sequence[nn.Parameter],
        gradients: Sequence[Tensor],
    ) -> list[bool]:
        """Give the gradients of the input and of the operation's weights; tell which there are."""
        found: Sequence[Tensor | None] = [None] * (1 + len(weights))
        if operation is not None:
            with torch.enable_grad():
                x = self._x.detach().requires_grad_()
                output = operation(x)
                if output.requires_grad:  # not that of a `none`
                    found = torch.autograd.grad(
                        output, [x, *weights], self._gradient, allow_unused=True
                    )
        if self.is_first:
            _write(self.readers.gradient, found[0])
        elif found[0] is not None:
            self.readers.gradient.add_(found[0])
        for to, gradient in zip(gradients, found[1:], strict=True):
            _write(to, gradient)
        return [gradient is not None for gradient in found]

    def read(self) -> Read:
        """Return what the products follow from: of all candidates, for none is set apart."""
        assert self._gradient is not None
        candidates, state = self.choice.probeable, ForwardState.capture((self._x,), {}, False)
        x, version, gradient = self._x, self._x._version, self._gradient
        chains = candidates.chains
        return Read(self.number, candidates, chains, x, version, None, state, gradient, None)


def _write(to: Tensor, values: Tensor | None) -> None:
    """Copy by a kernel: a copy proper, as part of a graph, costs as much as twenty of them."""
    if values is None:
        to.zero_()
    else:
        torch.mul(values, 1, out=to)


class Cut(NamedTuple):
    """Where an edge's candidate has its turn."""

    edge: Edge
    is_forward: bool


class _Taken(torch.autograd.Function):
    """An edge's output and its input's gradient, whatever candidate writes them."""

    @staticmethod
    def forward(ctx: Any, chain: Chain[Cut], edge: Edge, _anchor: Tensor, _x: Tensor) -> Tensor:
        ctx.chain, ctx.edge = chain, edge
        chain.cut(Cut(edge, is_forward=True))
        return edge.output.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        edge: Edge = ctx.edge
        edge.reached_by(gradient.contiguous(memory_format=layout_of(edge.output)))
        edge.is_first, is_last = edge.readers.arrive()
        ctx.chain.cut(Cut(edge, is_forward=False))
        return None, None, None, edge.readers.gradient if is_last else None
