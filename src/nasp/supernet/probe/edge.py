"""The exact gradient of every candidate at the discrete point, without their graphs: one edge.

With y = sum_k a_k O_k(x) at a one-hot a, and g = dL/dy: dL/da_k = <g, O_k(x)> for every k,
while nothing flows back through an operation whose a_k is 0. This is the reference: any modules,
inputs and outputs, run as they are; `taps` does the same for image batches with less work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from nasp.errors import UsageError
from nasp.supernet.probe.buffers import buffers_kept
from nasp.supernet.probe.candidate import Candidates
from nasp.supernet.probe.passes import first_order, is_asked_for, refuse_transforms

Autocast = tuple[tuple[str, bool, torch.dtype], ...]
"""Of each kind of device: whether autocast is on, and its type."""


Keep = Callable[[Tensor], None]
"""Takes the inner products of an edge's candidates, ``[candidates]``."""


def probe_edge(
    keep: Keep,
    anchor: Tensor,
    candidates: Candidates,
    chosen: int | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Any = None,
) -> Any:
    """Run the chosen candidate; make its backward pass keep every candidate's inner product.

    Args:
        keep: gets the products, ``[candidates]``, in the backward pass.
        anchor: part of a graph that the backward pass is asked for: so that it comes here.
        candidates: of the edge.
        chosen: the candidate that runs, or None where the edge is switched off.
        args: positional inputs of the edge.
        kwargs: named inputs of the edge.
        output: for a switched-off edge, what it would have been added to; for another, the
            chosen candidate's output, where it has run already.

    Returns:
        The chosen candidate's output, or `output`.

    Raises:
        UsageError: a candidate gives no tensor or, in the backward pass, another shape than the
            others, or changes its input in place.
    """
    refuse_transforms()
    state = ForwardState.capture(args, kwargs, candidates.draws)
    names = candidates.names
    if chosen is not None and output is None:
        output = run_unchanged(names[chosen], candidates.operations[chosen], args, kwargs)
    outputs = tensors_of(output)
    if not outputs:
        raise UsageError(
            f"The candidates {', '.join(names)} must return a tensor, or a tuple, list or"
            f" dictionary of tensors, but gave a {type(output).__name__}."
        )
    edge = _Edge(keep, anchor, candidates, chosen, state, len(outputs))
    inputs = [tensor.detach() for tensor in tensors_of((args, kwargs))]
    probed = _Probe.apply(edge, anchor, *outputs, *inputs)
    return with_tensors(output, list(probed))


def tensors_of(tree: Any) -> list[Tensor]:
    """Return the tensors of a tensor, or of a tuple, list or dictionary of tensors."""
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def with_tensors(tree: Any, tensors: Sequence[Tensor]) -> Any:
    """Return `tree` with its tensors replaced, in order."""
    leaves, spec = pytree.tree_flatten(tree)
    replacements = iter(tensors)
    filled = [next(replacements) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
    return pytree.tree_unflatten(filled, spec)


def same_shapes(
    name: str, tensors: Sequence[Tensor], other_name: str, others: Sequence[Tensor]
) -> None:
    """Raise UsageError unless two candidates of an edge give the same shapes."""
    shapes, other_shapes = ([tuple(t.shape) for t in side] for side in (tensors, others))
    if shapes != other_shapes:
        raise UsageError(
            f"All candidates of an edge must give one shape, but '{name}' gives"
            f" {_listed(shapes)} and '{other_name}' gives {_listed(other_shapes)}."
        )


def _listed(shapes: list[tuple[int, ...]]) -> str:
    return ", ".join(str(shape) for shape in shapes) or "no tensor"


_TENSOR = object()


@dataclass(frozen=True)
class ForwardState:
    """What the other candidates must find again in the backward pass.

    The form of the inputs, autocast and, where a candidate may draw, the random state as the edge
    was entered: of other parts of the network nobody knows what they draw in between.
    """

    leaves: tuple[Any, ...]
    spec: Any
    random: dict[int | None, Tensor]
    autocast: Autocast

    @staticmethod
    def capture(args: tuple[Any, ...], kwargs: dict[str, Any], draws: bool) -> ForwardState:
        """Note the state as it is now.

        Args:
            args: positional inputs of the edge.
            kwargs: named inputs of the edge.
            draws: whether a candidate may draw random numbers.
        """
        leaves, spec = pytree.tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        random: dict[int | None, Tensor] = {}
        if draws:
            devices = {t.device.index or 0 for t in tensors if t.is_cuda}
            random = {device: torch.cuda.get_rng_state(device) for device in devices}
            random[None] = torch.get_rng_state()
        return ForwardState(
            tuple(_TENSOR if isinstance(leaf, Tensor) else leaf for leaf in leaves),
            spec,
            random,
            autocast_of({t.device.type for t in tensors}),
        )

    def arguments(self, tensors: Sequence[Tensor]) -> Any:
        """Return positional and named arguments, with these tensors in their places."""
        remaining = iter(tensors)
        leaves = [next(remaining) if leaf is _TENSOR else leaf for leaf in self.leaves]
        return pytree.tree_unflatten(leaves, self.spec)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """No graph, the forward pass's autocast; random states put back at the end."""
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            if self.random:
                devices = [device for device in self.random if device is not None]
                stack.enter_context(torch.random.fork_rng(devices=devices))
            stack.enter_context(autocast_as(self.autocast))
            yield

    def rewind(self) -> None:
        """Set the random state that the edge was entered with."""
        for device, state in self.random.items():
            if device is None:
                torch.set_rng_state(state)
            else:
                torch.cuda.set_rng_state(state, device)


def autocast_of(kinds: set[str]) -> Autocast:
    """Return how autocast is set for these kinds of devices."""
    return tuple(
        (kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
        for kind in sorted(kinds & {"cpu", "cuda"})
    )


@contextmanager
def autocast_as(autocast: Iterable[tuple[str, bool, torch.dtype]]) -> Iterator[None]:
    """Set autocast of these kinds of devices."""
    with ExitStack() as stack:
        for kind, enabled, dtype in autocast:
            # No cache: it would hand weights without a graph to what runs after.
            stack.enter_context(
                torch.autocast(kind, dtype=dtype, enabled=enabled, cache_enabled=False)
            )
        yield


@dataclass(frozen=True)
class _Edge:
    keep: Keep
    anchor: Tensor
    candidates: Candidates
    chosen: int | None
    state: ForwardState
    outputs: int


class _Probe(torch.autograd.Function):
    """Identity on the edge's output; in the backward pass, one inner product a candidate."""

    @staticmethod
    def forward(ctx: Any, edge: _Edge, _anchor: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.edge = edge
        ctx.save_for_backward(*tensors)
        # A copy, so that a layer behind the edge may work in place, as it may behind a sum.
        return tuple(output.clone() for output in tensors[: edge.outputs])

    @staticmethod
    @first_order
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        edge: _Edge = ctx.edge
        saved: tuple[Tensor, ...] = ctx.saved_tensors
        outputs, inputs = saved[: edge.outputs], saved[edge.outputs :]
        unneeded = [None] * len(inputs)
        if not is_asked_for(edge.anchor):
            return None, None, *gradients, *unneeded
        args, kwargs = edge.state.arguments(inputs)
        names = edge.candidates.names
        products = []
        with edge.state.restored(), buffers_kept(edge.candidates.kept):
            for k, operation in enumerate(edge.candidates.operations):
                if k == edge.chosen:
                    products.append(inner_product(gradients, outputs))
                    continue
                edge.state.rewind()
                candidate = tensors_of(run_unchanged(names[k], operation, args, kwargs))
                expected = "the others" if edge.chosen is None else names[edge.chosen]
                same_shapes(expected, outputs, names[k], candidate)
                products.append(inner_product(gradients, candidate))
        edge.keep(torch.stack(products))
        return None, None, *gradients, *unneeded


def run_unchanged(
    name: str, operation: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Run a candidate, and see to it that its rivals find the same input."""
    inputs = tensors_of((args, kwargs))
    versions = [tensor._version for tensor in inputs]
    output = operation(*args, **kwargs)
    if versions != [tensor._version for tensor in inputs]:
        raise UsageError(
            f"Candidate '{name}' changes its input in place, but all candidates of an edge share"
            " it: use inplace=False in its first layer."
        )
    return output


def inner_product(gradients: Sequence[Tensor], outputs: Sequence[Tensor]) -> Tensor:
    """Return <g, y>, summed in float32 at least; of complex values the real part of <g, y*>."""
    wide = torch.promote_types(gradients[0].dtype, torch.float32)
    total = gradients[0].new_zeros((), dtype=wide.to_real())
    for g, output in zip(gradients, outputs, strict=True):
        total = total + (g.to(wide) * output.to(wide).conj()).sum().real
    return total
