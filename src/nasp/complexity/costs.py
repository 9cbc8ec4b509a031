"""What one candidate operation costs, measured: parameters, FLOPs, memory of a training step.

A cost is called as the operation itself is, ``cost(operation, *inputs)``, and returns a number
that is not negative. Any function of a user's own will do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils import _pytree as pytree

from nasp.complexity.counting import counted_flops

Cost = Callable[..., float]
"""``cost(operation, *args, **kwargs)``, with the inputs that the operation gets."""


def parameter_count(module: nn.Module, *_: Any, **__: Any) -> int:
    """Return how many parameters a module has; what it is called with does not matter."""
    return sum(parameter.numel() for parameter in module.parameters())


def flops(operation: nn.Module, *args: Any, **kwargs: Any) -> float:
    """Return the FLOPs of a forward pass, two a multiply-add.

    Counted are convolutions, matrix products, attention, recurrent and bilinear layers; the rest
    (pooling, BatchNorm, activations, sums) is none.
    """
    with at_rest(operation):
        return counted_flops(operation, lambda: operation(*args, **kwargs))


def macs(operation: nn.Module, *args: Any, **kwargs: Any) -> float:
    """Return the multiply-adds of a forward pass: half its FLOPs."""
    return flops(operation, *args, **kwargs) / 2


def memory(operation: nn.Module, *args: Any, **kwargs: Any) -> float:
    """Return the bytes that a training step keeps for its backward pass.

    Counted are the storages that autograd saves, without parameters, buffers and the inputs
    themselves, which are there whatever the operation; also of a part whose output is not used,
    as behind an edge that is cut. BatchNorm is in evaluation mode, so that
    one example will do and no statistics move; dropout is in training mode.
    """
    inputs = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    present = {_storage(t) for t in [*operation.parameters(), *operation.buffers(), *inputs]}
    # The tensors themselves are held: the address of one that is freed would be met again.
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in present:
            kept[_storage(tensor)] = tensor.detach()
        return tensor

    with (
        at_rest(operation, dropout=True),
        torch.enable_grad(),
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
    ):
        operation(*pytree.tree_map_only(Tensor, _with_gradient, args), **kwargs)
    return float(sum(tensor.untyped_storage().nbytes() for tensor in kept.values()))


@contextmanager
def at_rest(module: nn.Module, dropout: bool = False) -> Iterator[None]:
    """No graph, evaluation mode (`dropout`: but for BatchNorm not); all put back at the end."""
    modes = {part: part.training for part in module.modules()}
    for part in modes:
        part.training = dropout and not isinstance(part, _BatchNorm)
    try:
        with torch.no_grad(), torch.random.fork_rng():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


def _with_gradient(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_(tensor.is_floating_point())


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
