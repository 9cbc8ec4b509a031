"""Copies of modules, also of such as keep a tensor of their forward pass."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeVar

from torch import Tensor
from torch.overrides import TorchFunctionMode

Thing = TypeVar("Thing")


def copied(thing: Thing, memo: dict[int, Any] | None = None) -> Thing:
    """Return a deep copy; tensors in the middle of a graph come without it.

    Attention maps that a layer keeps are such tensors, and weights that a hook computes anew
    (`torch.nn.utils.spectral_norm`): Python's own deep copy refuses them.

    Args:
        thing: such as a module.
        memo: `copy.deepcopy`'s.
    """
    with _WithoutGraph():
        return copy.deepcopy(thing, memo)


class _WithoutGraph(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is Tensor.__deepcopy__ and not args[0].is_leaf:
            kept, memo = args
            if id(kept) not in memo:
                memo[id(kept)] = kept.detach().clone()
            return memo[id(kept)]
        return func(*args, **(kwargs or {}))
