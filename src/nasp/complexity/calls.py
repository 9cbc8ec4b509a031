"""With what inputs a network and its choices are called, recorded in one pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from nasp.complexity.costs import at_rest
from nasp.errors import NaspError
from nasp.supernet.supernet import Supernet


@dataclass(frozen=True)
class Call:
    """The inputs of a module, and how often it got inputs of these shapes."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    count: int = 1


Calls = Mapping[nn.Module, Sequence[Call]]


def record_calls(supernet: Supernet, run: Callable[[], object]) -> Calls:
    """Run every candidate once, and return what the network and each choice were called with.

    Args:
        supernet: left as it is.
        run: passes a sample through the supernet; for costs an example, a batch of one. What it
            does with the output may fail, such as a loss that there is in training alone.

    Raises:
        NaspError: the pass fails, or does not call the network.
    """
    found: dict[nn.Module, dict[Any, Call]] = {supernet.network: {}}
    found |= {choice: {} for choices in supernet.choices() for choice in choices}

    def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        key = shapes((args, kwargs))
        known = found[module].get(key, Call(args, kwargs, count=0))
        found[module][key] = replace(known, count=known.count + 1)

    ended: list[nn.Module] = []
    handles = [m.register_forward_pre_hook(note, prepend=True, with_kwargs=True) for m in found]
    handles.append(supernet.network.register_forward_hook(lambda module, *_: ended.append(module)))
    try:
        with at_rest(supernet), supernet.runs_restored():
            supernet.mixture({n: torch.full_like(a, 0.5) for n, a in supernet.alphas.items()})
            run()
    except Exception as error:  # whatever a user's network and task raise
        if not ended:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise NaspError(
                f"What the operations cost cannot be measured on a single example: {reason}; use"
                " cost='parameters', or let the network take a batch of one in evaluation mode."
            ) from error
    finally:
        for handle in handles:
            handle.remove()
    if not found[supernet.network]:
        raise NaspError(
            "What the operations cost cannot be measured: the task did not call the network."
        )
    return {module: tuple(calls.values()) for module, calls in found.items()}


def total(cost: Callable[..., float], module: nn.Module, calls: Sequence[Call] | None) -> float:
    """Return what a module costs over all its calls; with None, what it costs without inputs."""
    if calls is None:
        return cost(module)
    return sum(call.count * cost(module, *call.args, **call.kwargs) for call in calls)


def shapes(tree: Any) -> Any:
    """Return what makes calls cost alike: their form, their tensors' shapes, types and layout."""
    leaves, spec = pytree.tree_flatten(tree)
    return tuple(map(shape_of, leaves)), spec


def shape_of(leaf: object) -> Any:
    """Return what a tensor, or another input, is to `shapes`."""
    if isinstance(leaf, Tensor):
        return tuple(leaf.shape), leaf.stride(), leaf.dtype, leaf.device
    return leaf if isinstance(leaf, int | float | str | bool | None) else type(leaf)
