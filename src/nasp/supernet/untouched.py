"""Running modules without a trace: what a pass may change is put back."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from nasp.runs.random_state import random_states, restore_random_states


@contextmanager
def untouched(*owners: object) -> Iterator[None]:
    """Put back at the end, to the bit, what the owners hold and the global random states.

    Args:
        owners: of a module all parts: parameters, buffers, gradients, modes and attributes; of
            another object its attributes. Lists, dictionaries and sets among the attributes get
            their contents back; other objects there are left as they are.
    """
    parts = [part for owner in owners for part in _parts(owner)]
    attributes = [getattr(part, "__dict__", None) for part in parts]
    contents = _contents(each for each in attributes if isinstance(each, dict))
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
        for container, held in contents:
            _give_back(container, held)
        with torch.no_grad():
            for tensor, value, gradient in values:
                tensor.data.copy_(value)
                tensor.grad = gradient


def _parts(owner: object) -> list[object]:
    return list(owner.modules()) if isinstance(owner, nn.Module) else [owner]


def _contents(roots: Iterable[Any]) -> list[tuple[Any, Any]]:
    """Return containers, those inside of them too, each with a copy of what it contains."""
    waiting, seen = list(roots), set[int]()
    found: list[tuple[Any, Any]] = []
    while waiting:
        container = waiting.pop()
        if id(container) in seen:
            continue
        seen.add(id(container))
        if not container:  # most are: the dictionaries of hooks
            found.append((container, ()))
            continue
        contents = dict(container) if isinstance(container, dict) else list(container)
        found.append((container, contents))
        values = contents.values() if isinstance(contents, dict) else contents
        waiting += [value for value in values if type(value) in _CONTAINERS]
    return found


def _give_back(container: Any, contents: Any) -> None:
    container.clear()
    is_ordered = isinstance(container, list | deque)
    (container.extend if is_ordered else container.update)(contents)


_CONTAINERS = frozenset({dict, OrderedDict, defaultdict, list, set, deque})
