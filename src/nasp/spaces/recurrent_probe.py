"""The probe of a recurrent cell: all edges and time steps at once, after the backward pass.

With g the gradient of a node's value at a time step, s the state at the other end of an edge into
it and [c, v] = W s: every candidate there is s + σ(c) (f(v) − s), and

    dL/da = Σ over time steps  <g, s> − <u, s> + <u, f(v)>,      u = g σ(c)

The pass that is differentiated runs the chosen path alone and keeps its states. As its gradients
arrive they are kept too, and then a few large products do what an edge's own probe would do for
each candidate at each time step. Same gradient as `nasp.supernet.probe.edge`, less work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nasp.spaces.recurrent_cell import Gated, Projections, Read, follow
from nasp.supernet.choice import Choice, Probed, Run
from nasp.supernet.probe.edge import Keep
from nasp.supernet.probe.passes import first_order

VALUES_AT_ONCE = 2**18
"""Values of a state over the time steps that are taken together: more leave a CPU's cache."""


class CellProbe:
    """The probe of one pass through a cell.

    Args:
        choices: by node and source; each is told to run as `Probed`.
        weights: W_i of each node, ``[2C, C]``.
    """

    def __init__(self, choices: Sequence[Sequence[Choice]], weights: Sequence[Tensor]) -> None:
        edges = [
            _Edge(node, source, choice.operations)
            for node, into in enumerate(choices)
            for source, choice in enumerate(into)
        ]
        self._record = _Record(edges, [weight.detach() for weight in weights])
        runs = [choice.run for into in choices for choice in into]
        attached = [run.probe.attached(run.edge) for run in runs if isinstance(run, Probed)]
        keeps, anchors = zip(*attached, strict=True)
        self._zero: Tensor = _Gather.apply(self._record, keeps, *anchors).to(weights[0].dtype)

    @staticmethod
    def takes(runs: Sequence[Run], state: Tensor) -> bool:
        """Tell whether all edges are to be probed, together, and this state's type allows it."""
        return (
            all(isinstance(run, Probed) and run.probe.fused for run in runs)
            and state.dtype in (torch.float32, torch.float64)
            and not torch.is_autocast_enabled(state.device.type)
        )

    def begin(self, state: Tensor) -> Tensor:
        """Return the state before the first step: unchanged, with the probe at its root.

        All that the pass computes hangs on it, so the probe's backward pass comes last.
        """
        return state + self._zero

    def follow(
        self,
        reads: Sequence[Read],
        projections: Projections,
        first: Tensor,
        mask: Tensor,
        norm: Callable[[Tensor], Tensor],
    ) -> list[Tensor]:
        """Return the states of a time step; see `nasp.spaces.recurrent_cell.follow`."""
        gradients: dict[int, Tensor] = {}

        def watch(node: int, value: Tensor) -> Tensor:
            # A node of zeros would have no gradient.
            value = value if value.requires_grad else value + self._zero
            value.register_hook(partial(gradients.__setitem__, node))  # type: ignore[no-untyped-call]
            return value

        states = follow(reads, projections, first, mask, norm, watch)
        read = [state.detach() for state in states[:-1]]
        self._record.steps.append(_Step(read, mask.detach(), gradients))
        return states


@dataclass(frozen=True)
class _Edge:
    node: int
    source: int
    operations: Sequence[nn.Module]


@dataclass(frozen=True)
class _Step:
    """A time step: its states ``[B, C]``, the mask, and by node the gradient, once it is there."""

    states: list[Tensor]
    mask: Tensor
    gradients: dict[int, Tensor]


@dataclass
class _Record:
    edges: Sequence[_Edge]
    weights: Sequence[Tensor]
    steps: list[_Step] = field(default_factory=list)

    def inner_products(self) -> Tensor:
        """Return the gradient of every alpha ``[edges, candidates]``, and forget the gradients."""
        totals: Tensor | None = None
        for steps in self._chunks():
            products = self._of_chunk(steps)
            totals = products if totals is None else totals + products
        for step in self.steps:
            step.gradients.clear()
        if totals is None:
            return self.weights[0].new_zeros(len(self.edges), len(self.edges[0].operations))
        return totals

    def _chunks(self) -> Iterator[list[_Step]]:
        steps = [step for step in self.steps if step.gradients]
        size = max(1, VALUES_AT_ONCE // steps[0].mask.numel()) if steps else 1
        for start in range(0, len(steps), size):
            yield steps[start : start + size]

    def _of_chunk(self, steps: Sequence[_Step]) -> Tensor:
        gradients = {
            node: torch.cat(
                [step.gradients.get(node, torch.zeros_like(step.mask)) for step in steps]
            )
            for node in range(len(self.weights))
        }
        masks = torch.cat([step.mask for step in steps])
        products: list[Tensor] = []
        states: dict[int, tuple[Tensor, Tensor]] = {}
        for edge in self.edges:
            if edge.source not in states:
                state = torch.cat([step.states[edge.source] for step in steps])
                states[edge.source] = state, state * masks
            state, masked = states[edge.source]
            products += _edge_products(
                edge.operations, gradients[edge.node], state, masked, self.weights[edge.node]
            )
        return torch.stack(products).view(len(self.edges), -1)


def _edge_products(
    operations: Sequence[nn.Module], gradient: Tensor, state: Tensor, masked: Tensor, weight: Tensor
) -> Iterator[Tensor]:
    """Yield <g, O_k> of each candidate of an edge; all tensors but `weight` are ``[rows, C]``."""
    gate_weight, value_weight = weight.chunk(2)
    value = masked @ value_weight.t()
    opened = (masked @ gate_weight.t()).sigmoid_().mul_(gradient)
    kept = _inner(gradient, state) - _inner(opened, state)
    for operation in operations:
        if isinstance(operation, Gated):
            yield kept + _inner(opened, operation.activation(value))
        else:
            yield torch.zeros_like(kept)


def _inner(one: Tensor, other: Tensor) -> Tensor:
    return torch.dot(one.view(-1), other.view(-1))


class _Gather(torch.autograd.Function):
    """Zero, with all edges' anchors behind it: its backward pass comes last, and keeps products."""

    @staticmethod
    def forward(ctx: Any, record: _Record, keeps: Sequence[Keep], *anchors: Tensor) -> Tensor:
        ctx.record, ctx.keeps = record, keeps
        return anchors[0].new_zeros(())

    @staticmethod
    @first_order
    def backward(ctx: Any, _: Tensor) -> tuple[None, ...]:
        with torch.no_grad():
            products = ctx.record.inner_products()
        for keep, row in zip(ctx.keeps, products.unbind(), strict=True):
            keep(row)
        return (None,) * (2 + len(ctx.keeps))
