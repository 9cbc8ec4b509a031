"""Running modules without a trace: what a pass may change is put back."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from nasp.runs.random_state import random_states, restore_random_states

Restore = Callable[[], None]


@contextmanager
def untouched(*owners: object) -> Iterator[None]:
    """Put back at the end, to the bit, what the owners hold and the global random states.

    Args:
        owners: of a module all parts: parameters, buffers, gradients, modes and attributes; of
            another object its attributes. Lists, dictionaries and sets among the attributes get
            their contents back; other objects there are left as they are.
    """
    parts = [part for owner in owners for part in _parts(owner)]
    seen: set[int] = set()
    attributes = [getattr(part, "__dict__", None) for part in parts]
    restores = [_kept(each, seen) for each in attributes if isinstance(each, dict)]
    tensors = {
        id(tensor): tensor
        for part in parts
        if isinstance(part, nn.Module)
        for tensor in [*part.parameters(recurse=False), *part.buffers(recurse=False)]
    }
    values = [(tensor, tensor.detach().clone(), tensor.grad) for tensor in tensors.values()]
    random = random_states()
    try:
        yield
    finally:
        restore_random_states(random)
        for restore in restores:
            restore()
        with torch.no_grad():
            for tensor, value, gradient in values:
                tensor.data.copy_(value)
                tensor.grad = gradient


def _parts(owner: object) -> list[object]:
    return list(owner.modules()) if isinstance(owner, nn.Module) else [owner]


def _kept(container: Any, seen: set[int]) -> Restore:
    """Return what gives a container its contents back, and those of the containers in it."""
    seen.add(id(container))
    is_mapping = isinstance(container, dict)
    contents = dict(container) if is_mapping else list(container)
    values = contents.values() if isinstance(contents, dict) else contents
    inner = [_kept(v, seen) for v in values if type(v) in _CONTAINERS and id(v) not in seen]

    def restore() -> None:
        container.clear()
        (container.update if is_mapping or isinstance(container, set) else container.extend)(
            contents
        )
        for each in inner:
            each()

    return restore


_CONTAINERS = (dict, OrderedDict, defaultdict, list, set, deque)
