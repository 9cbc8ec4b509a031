"""A probed pass: what every edge read, and the gradient that reached its output.

The taps of edges that read image batches only collect, while the backward pass goes by; then
`products` runs the candidates of all of them. Other edges do as the reference in `edge` does.
The chosen candidate's product comes by one of two routes: by the scale of the BatchNorm that it
ends in, or from its output.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nasp.supernet.host import to_host
from nasp.supernet.leaves import in_tables
from nasp.supernet.path import Path
from nasp.supernet.probe.candidate import Candidates
from nasp.supernet.probe.edge import ForwardState, Keep, probe_edge, run_unchanged
from nasp.supernet.probe.features import is_image_batch, layout_of
from nasp.supernet.probe.norms import Found
from nasp.supernet.probe.passes import (
    first_order,
    is_asked_for,
    refuse_second_order,
    refuse_transforms,
)
from nasp.supernet.probe.products import Read, inner_products


class Probe:
    """One probed architecture step: one forward and backward pass, or several that add up.

    No graph leads from what is kept here to the pass's own: a pass without a backward pass is
    freed with its output.

    Args:
        path: which candidate each edge runs.
        shapes: of the alphas, table -> edges, candidates.
        device: of the network.
        dtype: of the gradients.
        fused: let edges that read image batches share work; False runs each candidate as it is.
        fixed_weights: chosen candidates' weights get no gradient, and nothing is kept for one.

    Attributes:
        anchors: one leaf ``[edges]`` of ones on the network's device, which a backward pass is to
            reach: the `inputs` of `Learner.gradients`.
    """

    def __init__(
        self,
        path: Path,
        shapes: Mapping[str, tuple[int, int]],
        device: torch.device,
        dtype: torch.dtype,
        fused: bool = True,
        fixed_weights: bool = False,
    ) -> None:
        self.path = path
        self.shapes = dict(shapes)
        self.fused = fused
        self.fixed_weights = fixed_weights
        self.anchors = [torch.ones(len(path), device=device, dtype=dtype, requires_grad=True)]
        self._rows: tuple[Tensor, ...] = ()
        self._seen: dict[int, _Seen] = {}
        self._reads: list[Read] = []
        self._found: list[Found] = []

    def run(
        self,
        edge: int,
        candidates: Candidates,
        chosen: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Run the chosen candidate of an edge; the backward pass will find all products."""
        if not self._takes(args, kwargs):
            return self._by_itself(edge, candidates, chosen, args, kwargs)
        name = candidates.names[chosen]
        x, read = self._reader(edge, candidates, chosen, args[0])
        chain = candidates.chains[chosen]
        if chain is not None and chain.is_usable and chain.ends_in_norm:
            anchor, fixed = self._anchor(edge), self.fixed_weights
            run = partial(chain.run, alpha=anchor, fixed_weights=fixed)
            output: Tensor = run_unchanged(name, run, (x,), {})
            hear = partial(_hear, self._reads, read, anchor, None, layout_of(output))
            output.register_hook(hear)  # type: ignore[no-untyped-call]
            return output
        output = run_unchanged(name, candidates.operations[chosen], (x,), {})
        if not is_image_batch(output):
            return self._by_itself(edge, candidates, chosen, args, kwargs, output)
        return self._tap(edge, read, output, x, is_own=True)

    def attach(
        self, edge: int, candidates: Candidates, output: Tensor, args: tuple[Any, ...]
    ) -> Tensor:
        """Return a node's output unchanged, with a switched-off edge's probe on it."""
        if not (self._takes(args, {}) and is_image_batch(output)):
            probed: Tensor = self._by_itself(edge, candidates, None, args, {}, output)
            return probed
        x, read = self._reader(edge, candidates, None, args[0])
        return self._tap(edge, read, output, x, is_own=False)

    def attached(self, edge: int) -> tuple[Keep, Tensor]:
        """Return what adds up inner products of an edge's candidates, and the edge's anchor.

        For a probe of another kind: its backward pass must hang on the anchor.
        """
        return partial(_keep, self._found, edge), self._anchor(edge)

    def forget(self) -> None:
        """Begin anew, whatever a pass left."""
        self._seen.clear()
        self._reads.clear()
        self._found.clear()
        self._rows = ()

    def take(self) -> Found:
        """Return what the backward passes so far have found, and begin anew.

        Returns:
            Where each inner product belongs, as often as its edge was read, and all of them,
            ``[places]``, on the network's device.
        """
        found = self._all()
        self.forget()
        return found

    def give(self, found: Found) -> None:
        """Add what was taken of another probe of the same path."""
        self._found.append(found)

    def gradients(self) -> dict[str, Tensor]:
        """Return dL/da of every candidate, table -> ``[edges, candidates]``, on the CPU.

        To be called after the backward pass; of several it is the sum.

        Raises:
            UsageError: a candidate gives another shape than the others, or changes its input.
        """
        places, products = self._all()
        (anchor,) = self.anchors
        own = torch.zeros_like(anchor) if anchor.grad is None else anchor.grad
        products, own = to_host([products, own])
        lengths = [length for edges, length in self.shapes.values() for _ in range(edges)]
        starts = [0, *accumulate(lengths)]
        flat = torch.zeros(starts[-1], dtype=products.dtype)
        where = [starts[edge] + k for edge, k in places]
        flat.index_add_(0, torch.tensor(where, dtype=torch.long), products)
        chosen = [(edge, k) for edge, k in enumerate(self.path) if k is not None]
        where = [starts[edge] + k for edge, k in chosen]
        flat[where] += own[[edge for edge, _ in chosen]]
        return in_tables(flat, self.shapes)

    def _all(self) -> Found:
        self._settle()
        dtype = self.anchors[0].dtype
        places = [place for places, _ in self._found for place in places]
        values = [values.to(dtype) for _, values in self._found]
        return places, torch.cat(values) if values else self.anchors[0].detach()[:0]

    def _settle(self) -> None:
        self._seen.clear()
        if self._reads:
            reads = list(self._reads)
            self._reads.clear()
            self._found.append(inner_products(reads))

    def _takes(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        return self.fused and len(args) == 1 and not kwargs and is_image_batch(args[0])

    def _by_itself(
        self,
        edge: int,
        candidates: Candidates,
        chosen: int | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        output: Any = None,
    ) -> Any:
        keep, anchor = self.attached(edge)
        return probe_edge(keep, anchor, candidates, chosen, args, kwargs, output)

    def _reader(
        self, edge: int, candidates: Candidates, chosen: int | None, x: Tensor
    ) -> tuple[Tensor, Callable[..., Read]]:
        """Return what the edge is to read, and what makes a `Read` of the gradient and output."""
        refuse_transforms()
        if self._reads:
            # Another part of the batch begins: what the last one left is not to pile up.
            self._settle()
        known = self._seen.get(id(x))
        if known is None or known.x is not x or known.version != x._version:
            known = self._seen[id(x)] = _Seen(x, _Source.apply(x), x.detach(), x._version)
        chains = tuple(
            chain if chain is not None and chain.is_usable else None for chain in candidates.chains
        )
        draws = None in chains and candidates.draws
        state = ForwardState.capture((x,), {}, draws)
        read = partial(Read, edge, candidates, chains, known.alias, known.version, chosen, state)
        return known.source, read

    def _tap(
        self, edge: int, read: Callable[..., Read], output: Tensor, x: Tensor, is_own: bool
    ) -> Tensor:
        tapped: Tensor = _Tap.apply(self._reads, read, is_own, self._anchor(edge), output, x)
        return tapped

    def _anchor(self, edge: int) -> Tensor:
        # Not before the pass: a captured one must hold all of its graph.
        self._rows = self._rows or self.anchors[0].unbind()
        return self._rows[edge]


class _Seen(NamedTuple):
    """A tensor that edges read, what they are given in its place, and what is kept of it."""

    x: Tensor
    source: Tensor
    alias: Tensor
    version: int


class _Source(torch.autograd.Function):
    """Identity on what edges read: where no gradient comes back, as from a `none`, zeros do."""

    @staticmethod
    def forward(_ctx: Any, x: Tensor) -> Tensor:
        return x.detach()

    @staticmethod
    @first_order
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class _Tap(torch.autograd.Function):
    """Identity on an edge's output, or on that of a node where the edge is switched off."""

    @staticmethod
    def forward(
        ctx: Any,
        reads: list[Read],
        read: Callable[..., Read],
        is_own: bool,
        anchor: Tensor,
        output: Tensor,
        _x: Tensor,
    ) -> Tensor:
        own = output.detach() if is_own else None
        ctx.hear = partial(_hear, reads, read, anchor, own, layout_of(output))
        # A copy, so that a layer behind the edge may work in place, as it may behind a sum. A
        # switched-off edge is heard at such a sum.
        return output.clone() if is_own else output.detach()

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, None, None, ctx.hear(gradient), None


def _hear(
    reads: list[Read],
    read: Callable[..., Read],
    anchor: Tensor,
    output: Tensor | None,
    layout: torch.memory_format,
    gradient: Tensor,
) -> Tensor:
    refuse_second_order()
    if not is_asked_for(anchor):
        return gradient
    # Behind a concatenation it is a slice, which kernels read up to 25 times as slowly.
    gradient = gradient.contiguous(memory_format=layout)
    reads.append(read(gradient=gradient, output=output))
    return gradient


def _keep(found: list[Found], edge: int, products: Tensor) -> None:
    found.append(([(edge, k) for k in range(len(products))], products))
