"""The probe of all edges that read one tensor, at once.

Each edge's tap keeps the gradient g that reaches its output. The tap on the tensor they read runs
its backward pass after all of them: only then do the candidates run (`products`), and the alphas
get their gradient. Same gradient as `nasp.supernet.probe.edge`, less work.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.weak import WeakIdKeyDictionary

from nasp.supernet.probe.candidate import Chain
from nasp.supernet.probe.edge import (
    ForwardState,
    attach_probe,
    run_unchanged,
    same_shapes,
    tensors_of,
)
from nasp.supernet.probe.pending import Pending, Place
from nasp.supernet.probe.products import Features, Member, add_inner_product


@dataclass(frozen=True)
class FusedCandidates:
    """The candidates of one edge: names, operations, and chains where they are such."""

    names: tuple[str, ...]
    operations: tuple[nn.Module, ...]
    chains: tuple[Chain | None, ...]

    @staticmethod
    def of(names: Sequence[str], operations: Sequence[nn.Module]) -> FusedCandidates:
        """Look at the operations once, for all passes to come."""
        chains = tuple(Chain.of(operation) for operation in operations)
        return FusedCandidates(tuple(names), tuple(operations), chains)


class FusedPass:
    """One probed forward and backward pass.

    Args:
        leaves: the tables' discrete alphas ``[edges, candidates]``, which get the gradient.
        fixed_weights: chosen candidates' weights get none, and nothing is kept for one.
    """

    def __init__(self, leaves: Sequence[Tensor], fixed_weights: bool) -> None:
        self.fixed_weights = fixed_weights
        self._pending = Pending()
        self._leaves: tuple[Tensor, ...] = _AlphasTap.apply(self._pending, *leaves)
        self._tapped: Any = WeakIdKeyDictionary()

    def tap(self, x: Tensor) -> tuple[_Readers, Tensor]:
        """Return who reads `x`, and what they are to read: the same for all of them."""
        known = self._tapped.get(x)
        if known is not None and known[2] == x._version and not known[0].are_done:
            return known[0], known[1]
        readers = _Readers()
        tapped: Tensor = _InputTap.apply(readers, self._pending, x, *self._leaves)
        self._tapped[x] = (readers, tapped, x._version)
        return readers, tapped


@dataclass(frozen=True)
class FusedEdge:
    """Where an edge's gradient belongs.

    Attributes:
        fused: the pass under way.
        table: which of the pass's leaves.
        row: which of its rows.
        candidates: of the edge.
    """

    fused: FusedPass
    table: int
    row: int
    candidates: FusedCandidates

    def takes(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Tell whether these inputs can be fused: one image batch of floats, no autocast.

        Nor under hooks on saved tensors: `torch.utils.checkpoint` runs a part of the network
        again, and there must find every tap where it was, whatever other parts have tapped.
        """
        is_hooked = torch._C._autograd._top_saved_tensors_default_hooks(False) is not None
        return len(args) == 1 and not kwargs and not is_hooked and _is_image_batch(args[0])

    def run(self, chosen: int, alphas: Tensor, x: Tensor) -> Any:
        """Run the chosen candidate on `x`; see `attach_probe`."""
        readers, tapped = self.fused.tap(x)
        reader = _Reader.of(self, chosen, tapped)
        name, operation = self.candidates.names[chosen], self.candidates.operations[chosen]
        chain = reader.chains[chosen]
        if chain is not None and chain.ends_in_norm:
            run = partial(chain.run, alpha=alphas[chosen], fixed_weights=self.fused.fixed_weights)
            reader.knows_chosen = True
            return readers.hear(reader, run_unchanged(name, run, (tapped,), {}))
        output = run_unchanged(name, operation, (tapped,), {})
        if _is_image_batch(output):
            return readers.tap(reader, output, tapped)
        candidates = dict(zip(self.candidates.names, self.candidates.operations, strict=True))
        return attach_probe(alphas, candidates, chosen, (tapped,), {}, output)

    def attach(self, output: Tensor, x: Tensor) -> Tensor:
        """Return a node's output unchanged, with this switched-off edge's probe on it."""
        readers, tapped = self.fused.tap(x)
        return readers.tap(_Reader.of(self, None, tapped), output, tapped)


@dataclass(eq=False)
class _Reader:
    """One edge that reads the tensor, and what its backward pass left.

    Attributes:
        chains: of the candidates, None where one cannot be run as a chain in this pass.
        state: what candidates without a chain need; None where all have one.
        knows_chosen: whether the chosen candidate's product comes by `Chain.run`.
    """

    edge: FusedEdge
    chosen: int | None
    chains: tuple[Chain | None, ...]
    state: ForwardState | None
    knows_chosen: bool = False
    gradient: Tensor | None = None
    own_product: Tensor | None = None

    def place(self, candidate: int) -> Place:
        return Place(self.edge.table, self.edge.row, candidate)

    @staticmethod
    def of(edge: FusedEdge, chosen: int | None, x: Tensor) -> _Reader:
        chains = tuple(
            chain if chain is not None and chain.is_usable else None
            for chain in edge.candidates.chains
        )
        return _Reader(
            edge, chosen, chains, ForwardState.capture((x,), {}) if None in chains else None
        )

    @property
    def keeps_output(self) -> bool:
        """Whether <g, O_k(x)> of the chosen k comes from its output, since no chain gives it."""
        return self.chosen is not None and self.chains[self.chosen] is None


@dataclass(eq=False)
class _Readers:
    edges: list[_Reader] = field(default_factory=list)
    are_done: bool = False

    def hear(self, reader: _Reader, output: Tensor) -> Tensor:
        """Keep the gradient of an output that is made of the tapped tensor, and new."""
        self.edges.append(reader)
        layout = _layout(output)

        def keep(gradient: Tensor) -> Tensor:
            reader.gradient = gradient.contiguous(memory_format=layout)
            return reader.gradient

        output.register_hook(keep)  # type: ignore[no-untyped-call]
        return output

    def tap(self, reader: _Reader, output: Tensor, tapped: Tensor) -> Tensor:
        """Keep the gradient of any output."""
        self.edges.append(reader)
        heard: Tensor = _OutputTap.apply(reader, output, tapped)
        return heard


class _OutputTap(torch.autograd.Function):
    """Identity on an edge's output; keeps its gradient for the tap on the edge's input."""

    @staticmethod
    def forward(ctx: Any, reader: _Reader, output: Tensor, _tapped: Tensor) -> Tensor:
        ctx.reader, ctx.layout = reader, _layout(output)
        if reader.keeps_output:
            ctx.save_for_backward(output)
        # A copy, so that a layer behind the edge may work in place, as it may behind a sum. A
        # switched-off edge is heard at such a sum.
        return output.clone() if reader.chosen is not None else output.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, None]:
        reader: _Reader = ctx.reader
        # Behind a concatenation it is a slice, which kernels read up to 25 times as slowly.
        gradient = reader.gradient = gradient.contiguous(memory_format=ctx.layout)
        if reader.keeps_output:
            reader.own_product = (gradient * ctx.saved_tensors[0]).sum()
        return None, gradient, None


class _InputTap(torch.autograd.Function):
    """Identity on what several edges read; its backward pass probes them all."""

    @staticmethod
    def forward(ctx: Any, readers: _Readers, pending: Pending, x: Tensor, *_: Tensor) -> Tensor:
        ctx.readers, ctx.pending = readers, pending
        ctx.save_for_backward(x)
        return x.detach()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x,) = ctx.saved_tensors
        readers = [reader for reader in ctx.readers.edges if reader.gradient is not None]
        with torch.no_grad():
            _probe_all(ctx.pending, x, readers)
        for reader in readers:
            reader.gradient = reader.own_product = None
        ctx.readers.are_done = True
        return None, None, gradient, *([None] * (len(ctx.needs_input_grad) - 3))


class _AlphasTap(torch.autograd.Function):
    """Identity on the alphas that all input taps hang on, so its backward pass comes last."""

    @staticmethod
    def forward(ctx: Any, pending: Pending, *leaves: Tensor) -> tuple[Tensor, ...]:
        ctx.pending = pending
        ctx.likes = [(leaf.shape, leaf.dtype, leaf.device) for leaf in leaves]
        return tuple(leaf.detach() for leaf in leaves)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *_: Tensor) -> tuple[Tensor | None, ...]:
        with torch.no_grad():
            products = ctx.pending.settle()
        gradients = []
        for table, (shape, dtype, device) in enumerate(ctx.likes):
            gradient = torch.zeros(shape, dtype=dtype, device=device)
            places = [place for place in products if place.table == table]
            if places:
                where = torch.tensor([place[1:] for place in places], device=device).unbind(1)
                gradient[where] = torch.stack([products[place] for place in places]).to(dtype)
            gradients.append(gradient)
        return None, *gradients


def _probe_all(pending: Pending, x: Tensor, readers: Sequence[_Reader]) -> None:
    """Let `pending` have <g, O_k(x)> for every candidate of every edge."""
    inputs = Features(x)
    for reader in readers:
        gradient = Features(_gradient(reader))
        for k, chain in enumerate(reader.chains):
            is_chosen = k == reader.chosen
            if is_chosen and reader.knows_chosen:
                continue
            if is_chosen and reader.own_product is not None:
                pending.add(reader.place(k), reader.own_product)
            elif chain is None:
                pending.add(reader.place(k), _alone(reader, k, x))
            else:
                member = Member(reader.place(k), chain, gradient, not is_chosen)
                add_inner_product(pending, member, inputs)


def _alone(reader: _Reader, k: int, x: Tensor) -> Tensor:
    """Return <g, O_k(x)> of a candidate that is no chain, run as it is."""
    candidates, gradient = reader.edge.candidates, _gradient(reader)
    state = reader.state
    assert state is not None
    with state.restored():
        state.rewind_rng()
        output = tensors_of(run_unchanged(candidates.names[k], candidates.operations[k], (x,), {}))
    same_shapes("the others", [gradient], candidates.names[k], output)
    return (gradient * output[0]).sum()


def _gradient(reader: _Reader) -> Tensor:
    assert reader.gradient is not None
    return reader.gradient


def _layout(images: Tensor) -> torch.memory_format:
    is_channels_last = images.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_channels_last else torch.contiguous_format


def _is_image_batch(x: object) -> bool:
    return (
        isinstance(x, Tensor)
        and x.dim() == 4
        and x.dtype in (torch.float32, torch.float64)
        and x.numel() > 0
        and not torch.is_autocast_enabled(x.device.type)
    )
