"""DARTS's recurrent cell along one path: each node reads one earlier state through one operation.

Source: Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search", ICLR 2019, section 2.1
and A.1.2. With x the input of a time step and h the state before it:

    s_0 = h + σ(c) (tanh(v) − h),      [c, v] = W_x x + W_h h
    s_i = s_j + σ(c) (o(v) − s_j),     [c, v] = W_i s_j,     node i = 1 … 8 reads state j < i
    the state after it is the mean of s_1 … s_8

Here nodes count from 0, as in DARTS's genotypes: node n makes state n + 1 and has weight W_n.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nasp.spaces.language_model import INIT_RANGE, Dropouts
from nasp.supernet.derive import Plain


class Gated(Plain, nn.Module):
    """The state, drawn towards an activation as far as a gate is open: a candidate operation.

    Args:
        activation: works element by element.
    """

    def __init__(self, activation: nn.Module) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, state: Tensor, gate: Tensor, value: Tensor) -> Tensor:
        """Map three of ``[..., C]`` to state + σ(gate) (activation(value) − state)."""
        return towards(state, self.activation(value), gate)


class Nothing(Plain, nn.Module):
    """The candidate ``none``: zeros."""

    def forward(self, state: Tensor, *_: Tensor) -> Tensor:
        """Map ``[..., C]`` to zeros of that shape."""
        return torch.zeros_like(state)


OPERATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "none": Nothing,
    "tanh": lambda: Gated(nn.Tanh()),
    "relu": lambda: Gated(nn.ReLU()),
    "sigmoid": lambda: Gated(nn.Sigmoid()),
    "identity": lambda: Gated(nn.Identity()),
}
"""The candidate operations, in DARTS's order."""


@dataclass(frozen=True)
class Read:
    """What a node does: it reads a state, by its number, through an operation."""

    source: int
    operation: nn.Module


def readers_of(reads: Sequence[Read]) -> dict[int, list[int]]:
    """Return, for each state that is projected, the nodes that read it."""
    readers: dict[int, list[int]] = {}
    for node, read in enumerate(reads):
        if not isinstance(read.operation, Nothing):
            readers.setdefault(read.source, []).append(node)
    return readers


def joined(readers: Mapping[int, list[int]], weights: Sequence[Tensor]) -> list[Tensor]:
    """Return, for each state that is read, the weights of its readers side by side.

    Args:
        readers: state -> nodes.
        weights: W_i of each node, ``[2C, C]``.
    """
    together = ([weights[node] for node in nodes] for nodes in readers.values())
    return [torch.cat(some).t() for some in together]


class Projections:
    """The products W_i s_j of a path, those that read one state in one matrix product.

    Args:
        readers: see `readers_of`.
        weights: as `joined` returns them.
    """

    def __init__(self, readers: Mapping[int, list[int]], weights: Sequence[Tensor]) -> None:
        self._readers = readers
        self._weights = weights
        self._places = {source: place for place, source in enumerate(readers)}

    @staticmethod
    def along(reads: Sequence[Read], weights: Sequence[Tensor]) -> Projections:
        """Return those of a path, of each node's W_i ``[2C, C]``."""
        readers = readers_of(reads)
        return Projections(readers, joined(readers, weights))

    def of(self, source: int, masked: Tensor) -> Sequence[Tensor]:
        """Return gates and values ``[B, C]``, in turn, of all that read this (masked) state."""
        product = masked @ self._weights[self._places[source]]
        return product.chunk(2 * len(self._readers[source]), dim=1)

    def place(self, source: int, node: int) -> int:
        """Return where among them a node's gate is; its value follows."""
        return 2 * self._readers[source].index(node)


class TimeStep(nn.Module):
    """The nodes of a derived cell at a time step.

    Args:
        reads: what each node does.
        norm: behind every state.
    """

    def __init__(self, reads: Sequence[Read], norm: nn.Module) -> None:
        super().__init__()
        self.sources = [read.source for read in reads]
        self.operations = nn.ModuleList(read.operation for read in reads)
        self.norm = norm

    def forward(self, first: Tensor, mask: Tensor, weights: Sequence[Tensor]) -> Tensor:
        """Map s_0 and the mask, ``[B, C]``, and the `joined` weights to the state after it."""
        reads = [Read(s, o) for s, o in zip(self.sources, self.operations, strict=True)]
        projections = Projections(readers_of(reads), weights)
        return mean(follow(reads, projections, self.norm(first), mask, self.norm))


class RecurrentCell(Plain, nn.Module):
    """The derived cell: a recurrent layer.

    Args:
        reads: what each node does.
        width: C, of input and state.
        dropouts: `input` and `hidden` are its own.
        norm: behind every state, as in a search; default none.
    """

    def __init__(
        self,
        reads: Sequence[Read],
        width: int,
        dropouts: Dropouts,
        norm: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.state_size = width
        self.readers = readers_of(reads)
        self.entry = Entry(width, dropouts)
        self.nodes = nn.ModuleList(nn.Linear(width, 2 * width, bias=False) for _ in reads)
        self.step = TimeStep(reads, nn.Identity() if norm is None else norm)
        for node in self.nodes:
            nn.init.uniform_(node.get_parameter("weight"), -INIT_RANGE, INIT_RANGE)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``[T, B, C]`` and the state ``[B, C]`` before it to the T states and the last."""
        each: list[Any] = [node.weight for node in self.nodes]
        weights = joined(self.readers, each)
        entries, mask = self.entry(x, state)
        states = []
        for entry in entries.unbind():
            state = self.step(self.entry.first_state(entry, state, mask), mask, weights)
            states.append(state)
        return torch.stack(states), state


class Entry(Plain, nn.Module):
    """How input and state come into a cell: the first state, and the masks of dropout.

    Args:
        width: C.
        dropouts: `input` and `hidden`.
    """

    def __init__(self, width: int, dropouts: Dropouts) -> None:
        super().__init__()
        self.input = nn.Linear(width, 2 * width, bias=False)
        self.hidden = nn.Linear(width, 2 * width, bias=False)
        self.input_dropout = nn.Dropout(dropouts.input)
        self.hidden_dropout = nn.Dropout(dropouts.hidden)
        for linear in (self.input, self.hidden):
            nn.init.uniform_(linear.weight, -INIT_RANGE, INIT_RANGE)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return W_x x of all time steps ``[T, B, 2C]``, and the mask of states ``[B, C]``."""
        input_mask = self.input_dropout(torch.ones_like(x[0]))
        # One product for all steps: only what hangs on the state has to wait for it.
        return self.input(x * input_mask), self.hidden_dropout(torch.ones_like(state))

    def first_state(self, entry: Tensor, state: Tensor, mask: Tensor) -> Tensor:
        """Return s_0 of a time step ``[B, C]``."""
        whole = torch.addmm(entry, state * mask, self.hidden.weight.t())
        gate, value = whole.chunk(2, dim=1)
        return towards(state, value.tanh(), gate)


def towards(state: Tensor, goal: Tensor, gate: Tensor) -> Tensor:
    """Return state + σ(gate) (goal − state), of the state's type also under autocast."""
    return torch.lerp(state, goal.to(state.dtype), gate.sigmoid().to(state.dtype))


def follow(
    reads: Sequence[Read],
    projections: Projections,
    first: Tensor,
    mask: Tensor,
    norm: Callable[[Tensor], Tensor],
    watch: Callable[[int, Tensor], Tensor] = lambda _, value: value,
) -> list[Tensor]:
    """Return the states of a time step along a path: s_0 to s_N, each ``[B, C]``.

    Args:
        reads: what each node does.
        projections: their products.
        first: s_0.
        mask: of dropout.
        norm: behind every node.
        watch: is shown each node's value before the norm, and returns what goes on.
    """
    states = [first]
    projected: dict[int, Sequence[Tensor]] = {}
    for node, read in enumerate(reads):
        source = states[read.source]
        if isinstance(read.operation, Nothing):
            value = read.operation(source)
        else:
            if read.source not in projected:
                projected[read.source] = projections.of(read.source, source * mask)
            parts, place = projected[read.source], projections.place(read.source, node)
            value = read.operation(source, parts[place], parts[place + 1])
        states.append(norm(watch(node, value)))
    return states


def mean(states: Sequence[Tensor]) -> Tensor:
    """Return the mean of all states but the first."""
    total = states[1]
    for state in states[2:]:
        total = total + state
    return total * (1 / (len(states) - 1))
