"""The exact gradient of every candidate at the discrete point, without their graphs.

With y = sum_k a_k O_k(x) at a one-hot a, and g = dL/dy: dL/da_k = <g, O_k(x)> for every k,
while nothing flows back through an operation whose a_k is 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.utils import _pytree as pytree

from nasp.errors import UsageError


def attach_probe(
    alphas: Tensor,
    candidates: Mapping[str, nn.Module],
    chosen: int | None,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: Any = None,
) -> Any:
    """Run the chosen candidate; make its backward pass fill the gradient of `alphas`.

    Args:
        alphas: ``[candidates]``, part of a graph; its gradient becomes exact for every candidate.
        candidates: name -> operation, in the order of `alphas`.
        chosen: the candidate that runs, or None where the edge is switched off.
        args: positional inputs of the edge.
        kwargs: named inputs of the edge.
        output: for a switched-off edge, what it would have been added to; for another, the
            chosen candidate's output, where it has run already.

    Returns:
        The chosen candidate's output, or `output`.
    """
    state = ForwardState.capture(args, kwargs)
    names, operations = tuple(candidates), tuple(candidates.values())
    if chosen is not None and output is None:
        output = run_unchanged(names[chosen], operations[chosen], args, kwargs)
    outputs = tensors_of(output)
    if not outputs:
        raise UsageError(
            f"The candidates {', '.join(names)} must return a tensor, or a tuple, list or"
            f" dictionary of tensors, but gave a {type(output).__name__}."
        )
    edge = _Edge(names, operations, chosen, state, len(outputs))
    inputs = [tensor.detach() for tensor in tensors_of((args, kwargs))]
    probed = _Probe.apply(edge, alphas, *outputs, *inputs)
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

    The form of the inputs, the random state as the edge was entered, autocast.
    """

    leaves: tuple[Any, ...]
    spec: Any
    cpu_rng: Tensor
    cuda_rng: dict[int, Tensor]
    autocast: tuple[tuple[str, bool, torch.dtype], ...]

    @staticmethod
    def capture(args: tuple[Any, ...], kwargs: dict[str, Any]) -> ForwardState:
        """Note the state as it is now."""
        leaves, spec = pytree.tree_flatten((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        devices = {t.device.index or 0 for t in tensors if t.device.type == "cuda"}
        kinds = {t.device.type for t in tensors}
        return ForwardState(
            leaves=tuple(_TENSOR if isinstance(leaf, Tensor) else leaf for leaf in leaves),
            spec=spec,
            cpu_rng=torch.get_rng_state(),
            cuda_rng={device: torch.cuda.get_rng_state(device) for device in devices},
            autocast=tuple(
                (kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind))
                for kind in sorted(kinds & {"cpu", "cuda"})
            ),
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
            stack.enter_context(torch.random.fork_rng(devices=list(self.cuda_rng)))
            for kind, enabled, dtype in self.autocast:
                # No cache: it would hand weights without a graph to what runs after.
                stack.enter_context(
                    torch.autocast(kind, dtype=dtype, enabled=enabled, cache_enabled=False)
                )
            yield

    def rewind_rng(self) -> None:
        """Set the random state that the edge was entered with."""
        torch.set_rng_state(self.cpu_rng)
        for device, state in self.cuda_rng.items():
            torch.cuda.set_rng_state(state, device)


@dataclass(frozen=True)
class _Edge:
    names: tuple[str, ...]
    operations: tuple[nn.Module, ...]
    chosen: int | None
    state: ForwardState
    outputs: int


class _Probe(torch.autograd.Function):
    """Identity on the edge's output; in the backward pass, one inner product a candidate."""

    @staticmethod
    def forward(ctx: Any, edge: _Edge, _alphas: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.edge = edge
        ctx.save_for_backward(*tensors)
        # A copy, so that a layer behind the edge may work in place, as it may behind a sum.
        return tuple(output.clone() for output in tensors[: edge.outputs])

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        edge: _Edge = ctx.edge  # type: ignore[attr-defined]
        saved: tuple[Tensor, ...] = ctx.saved_tensors  # type: ignore[attr-defined]
        outputs, inputs = saved[: edge.outputs], saved[edge.outputs :]
        args, kwargs = edge.state.arguments(inputs)
        products = []
        with edge.state.restored():
            for k, operation in enumerate(edge.operations):
                if k == edge.chosen:
                    products.append(_inner_product(gradients, outputs))
                    continue
                edge.state.rewind_rng()
                candidate = tensors_of(run_unchanged(edge.names[k], operation, args, kwargs))
                expected = "the others" if edge.chosen is None else edge.names[edge.chosen]
                same_shapes(expected, outputs, edge.names[k], candidate)
                products.append(_inner_product(gradients, candidate))
        return None, torch.stack(products), *gradients, *([None] * len(inputs))


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


def _inner_product(gradients: Sequence[Tensor], outputs: Sequence[Tensor]) -> Tensor:
    total = gradients[0].new_zeros((), dtype=torch.promote_types(gradients[0].dtype, torch.float32))
    for g, output in zip(gradients, outputs, strict=True):
        total = total + (g.to(total.dtype) * output.to(total.dtype)).sum()
    return total
