"""DARTS's recurrent cell with every choice open.

Each way to run it has the arithmetic that is cheapest for it: along one path as the derived cell
does, mixtures with all edges of a node together, the probe after the backward pass for all time
steps at once (`nasp.spaces.recurrent_probe`). Where none of them fits, edges run one by one as the
`Choice`s and `Node`s that they are, to the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasp.spaces.language_model import INIT_RANGE, Dropouts
from nasp.spaces.recurrent_cell import (
    OPERATIONS,
    Entry,
    Gated,
    Nothing,
    Projections,
    Read,
    RecurrentCell,
    follow,
    mean,
    towards,
)
from nasp.spaces.recurrent_probe import CellProbe
from nasp.supernet.choice import Choice, Mixture, Node, Probed, Single

NODES = 8
"""Nodes of a cell."""

Step = Callable[[Tensor, Tensor], Sequence[Tensor]]
"""From s_0 and the mask, both ``[B, C]``, to all states of a time step."""


def edge_name(node: int, source: int) -> str:
    """Return an edge's name, numbered as DARTS orders its alphas: ``recurrent/0`` to ``/35``."""
    return f"recurrent/{node * (node + 1) // 2 + source}"


class SearchCell(nn.Module):
    """A recurrent layer with a `Choice` on each of 36 edges, of which 8 survive.

    BatchNorm without scale and shift is behind every state, one and the same for all states and
    time steps, as in DARTS.

    Args:
        width: C, of input and state.
        dropouts: `input` and `hidden` are its own.
    """

    def __init__(self, width: int, dropouts: Dropouts) -> None:
        super().__init__()
        self.state_size = width
        self.width, self.dropouts = width, dropouts
        self.entry = Entry(width, dropouts)
        self.projections = nn.ModuleList(
            nn.Linear(width, 2 * width, bias=False) for _ in range(NODES)
        )
        self.nodes = nn.ModuleList(
            Node([_edge(node, source) for source in range(node + 1)], keep=1)
            for node in range(NODES)
        )
        self.norm = nn.BatchNorm1d(width, affine=False)
        for linear in self.projections:
            nn.init.uniform_(linear.get_parameter("weight"), -INIT_RANGE, INIT_RANGE)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``[T, B, C]`` and the state ``[B, C]`` before it to the T states and the last."""
        entries, mask = self.entry(x, state)
        step, state = self._step(state)
        states = []
        for entry in entries.unbind():
            first = self.norm(self.entry.first_state(entry, state, mask))
            state = mean(step(first, mask))
            states.append(state)
        return torch.stack(states), state

    def derived(self, kept: Callable[[Choice], nn.Module | None]) -> RecurrentCell:
        """Return the cell along one path, with this cell's weights and its norm.

        Args:
            kept: what stands on an edge; None where it is switched off.
        """
        reads = _reads([[kept(choice) for choice in node] for node in self.choices])
        assert reads is not None
        cell = RecurrentCell(reads, self.width, self.dropouts, self.norm)
        cell.entry, cell.nodes = self.entry, self.projections
        return cell

    @property
    def choices(self) -> list[list[Choice]]:
        """The choices, by node and source."""
        return [list(cast(Node, node).choices) for node in self.nodes]

    def _step(self, state: Tensor) -> tuple[Step, Tensor]:
        """Return how this pass runs its time steps, and the state that it begins with."""
        choices, weights = self.choices, [p.get_parameter("weight") for p in self.projections]
        edges = [choice for node in choices for choice in node]
        runs = [choice.run for choice in edges]
        if not all(map(_is_plain, edges)):
            return self._edge_by_edge(weights), state
        if all(isinstance(run, Mixture) for run in runs):
            return self._mixed(choices, weights, state.dtype), state
        reads = _reads([[_chosen(choice) for choice in node] for node in choices])
        if reads is not None:
            projections = Projections.along(reads, weights)
            if all(isinstance(run, Single) for run in runs) or not torch.is_grad_enabled():
                return lambda first, mask: follow(reads, projections, first, mask, self.norm), state
            if CellProbe.takes(runs, state):
                probe = CellProbe(choices, weights)
                return (
                    lambda first, mask: probe.follow(reads, projections, first, mask, self.norm),
                    probe.begin(state),
                )
        return self._edge_by_edge(weights), state

    def _mixed(
        self, choices: Sequence[Sequence[Choice]], weights: Sequence[Tensor], dtype: torch.dtype
    ) -> Step:
        """Run mixtures: all edges of a node together, σ(c) once for all their candidates.

        Σ_k a_k (s + σ(c) (f_k(v) − s))  =  (Σ_k a_k) s + σ(c) (Σ_k a_k f_k(v) − (Σ_k a_k) s)
        """
        nodes = [_Mixed.of(into, dtype) for into in choices]

        def step(first: Tensor, mask: Tensor) -> list[Tensor]:
            states = [first]
            for node, weight in zip(nodes, weights, strict=True):
                stacked = torch.stack([states[source] for source in node.sources])
                gate, value = F.linear(stacked * mask, weight).chunk(2, dim=2)
                goal = torch.zeros_like(stacked)
                for edges, share, activation in node.activations:
                    if edges is None:
                        goal = torch.addcmul(goal, share, activation(value))
                    else:
                        some = share * activation(value[edges])
                        goal = goal.index_add(0, edges, some.to(goal.dtype))
                mixed = towards(node.total * stacked, goal, gate).sum(dim=0)
                states.append(self.norm(mixed))
            return states

        return step

    def _edge_by_edge(self, weights: Sequence[Tensor]) -> Step:
        def step(first: Tensor, mask: Tensor) -> list[Tensor]:
            states = [first]
            for node, weight in zip(self.nodes, weights, strict=True):
                stacked = torch.stack(states)
                gates, values = F.linear(stacked * mask, weight).chunk(2, dim=2)
                edges = zip(states, gates.unbind(), values.unbind(), strict=True)
                states.append(self.norm(node(*edges)))
            return states

        return step


class _Mixed(NamedTuple):
    """The mixtures into a node.

    Attributes:
        sources: the states of its n edges that are on.
        activations: each with the edges out of n on which it runs (None: on all), and its weights
            there ``[edges, 1, 1]``.
        total: by edge, the sum of these weights ``[n, 1, 1]``.
    """

    sources: list[int]
    activations: list[tuple[Tensor | None, Tensor, nn.Module]]
    total: Tensor

    @staticmethod
    def of(into: Sequence[Choice], dtype: torch.dtype) -> _Mixed:
        sources = [source for source, choice in enumerate(into) if not choice.is_off]
        runs = [cast(Mixture, into[source].run) for source in sources]
        weights = torch.stack([run.weights for run in runs]).to(dtype)
        total = torch.zeros_like(weights[:, 0])
        activations = []
        for k, operation in enumerate(into[0].operations):
            on = [e for e, run in enumerate(runs) if run.support is None or k in run.support]
            if on and isinstance(operation, Gated):
                edges = torch.tensor(on, device=weights.device)
                share = weights[edges, k]
                total = total.index_add(0, edges, share)
                some = None if len(on) == len(runs) else edges
                activations.append((some, share[:, None, None], operation.activation))
        return _Mixed(sources, activations, total[:, None, None])


def _edge(node: int, source: int) -> Choice:
    candidates = {name: make() for name, make in OPERATIONS.items()}
    return Choice(candidates, share=edge_name(node, source), search_only=["none"])


def _reads(operations: Sequence[Sequence[nn.Module | None]]) -> list[Read] | None:
    """Return what each node does, by what stands on its edges; None unless it reads one state."""
    reads = []
    for into in operations:
        on = [(source, o) for source, o in enumerate(into) if o is not None]
        if len(on) != 1:
            return None
        reads.append(Read(*on[0]))
    return reads


def _chosen(choice: Choice) -> nn.Module | None:
    run = choice.run
    if not isinstance(run, Single | Probed) or run.candidate is None:
        return None
    return choice.operations[run.candidate]


def _is_plain(choice: Choice) -> bool:
    """Tell whether an edge holds nothing but this space's operations, and nobody listens to it."""
    modules = (choice, *choice.operations)
    is_heard = any(m._forward_hooks or m._forward_pre_hooks for m in modules)
    return not is_heard and all(type(o) in (Gated, Nothing) for o in choice.operations)
