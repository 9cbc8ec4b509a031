"""Which backward passes a probe listens to: those that ask for it, of first derivatives."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from nasp.errors import UsageError

SECOND_ORDER = (
    "The loss takes derivatives of the network's own derivatives (create_graph=True, torch.func),"
    " through which a probe gives no gradient: set gradient='plain' of strategy 'nasp', or choose"
    " a strategy that mixes candidates, such as 'darts'."
)


def is_asked_for(anchor: Tensor) -> bool:
    """Tell whether the backward pass under way is to reach an anchor.

    Not so one that a loss runs of its own, such as for a gradient by the network's input.
    """
    node = anchor.grad_fn
    return node is None or torch._C._will_engine_execute_node(node)


def refuse_second_order() -> None:
    """Raise UsageError in a backward pass that is itself to be differentiated.

    Raises:
        UsageError: of second derivatives a probe knows nothing.
    """
    if torch.is_grad_enabled():
        raise UsageError(SECOND_ORDER)


def refuse_transforms() -> None:
    """Raise UsageError inside of torch.func's transforms, and of forward-mode derivatives."""
    if is_transformed():
        raise UsageError(SECOND_ORDER)


def is_transformed() -> bool:
    """Tell whether a transform of torch.func, or forward-mode differentiation, is under way."""
    return torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0


def first_order(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Make a `torch.autograd.Function` refuse to be differentiated twice."""

    @wraps(backward)
    def once(ctx: Any, *gradients: Tensor) -> Any:
        refuse_second_order()
        return backward(ctx, *gradients)

    return once
