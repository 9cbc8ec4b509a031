"""What a loader without a `state_dict` keeps from pass to pass: generators and counters."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from nasp.errors import NaspError
from nasp.training.batches import mapped

_GENERATORS = (torch.Generator, np.random.Generator, np.random.RandomState, random.Random)
_PARTS = ("sampler", "batch_sampler", "dataset", "datasets", "data_source", "source", "loader")


def own_states(loader: object) -> list[Any]:
    """Return the states, as a checkpoint can hold them, in the order in which they are found."""
    return [_state(owner, name) for owner, name in _places(loader)]


def restore_own_states(loader: object, states: list[Any]) -> None:
    """Take up what `own_states` returned of a loader that is built alike.

    Raises:
        NaspError: it is another.
    """
    places = _places(loader)
    if len(places) != len(states):
        raise NaspError(
            f"The loader has {len(places)} generators and counters of its own, but its saved state"
            f" has {len(states)}: build it as it was, and all of them before its first pass."
        )
    for (owner, name), state in zip(places, states, strict=True):
        _restore(owner, name, state)


def _places(loader: object) -> list[tuple[Any, str]]:
    """Return owner and attribute of each; a generator that two share counts once."""
    seen: set[int] = set()
    return list(_walk(loader, seen))


def _walk(owner: Any, seen: set[int]) -> Iterator[tuple[Any, str]]:
    if id(owner) in seen or not hasattr(owner, "__dict__"):
        return
    seen.add(id(owner))
    is_counted = not isinstance(owner, DataLoader)
    is_ordered = isinstance(owner, Sampler) and not type(owner).__module__.startswith("torch.")
    for name, value in vars(owner).items():
        if isinstance(value, _GENERATORS):
            if id(value) not in seen:
                seen.add(id(value))
                yield owner, name
        elif (is_counted and type(value) in (int, float)) or (is_ordered and _is_row(value)):
            yield owner, name
        elif isinstance(value, Sampler | Dataset | DataLoader) or name in _PARTS:
            for part in value if isinstance(value, list | tuple) else [value]:
                yield from _walk(part, seen)


def _is_row(value: Any) -> bool:
    """Tell whether a value is numbers in a row, such as an order that is shuffled in place."""
    if isinstance(value, list):
        return bool(value) and all(type(each) is int for each in value)
    return isinstance(value, Tensor | np.ndarray) and value.ndim == 1


def _state(owner: Any, name: str) -> Any:
    value = getattr(owner, name)
    if _is_row(value):
        return torch.as_tensor(value).clone()
    match value:
        case torch.Generator():
            return value.get_state()
        case np.random.Generator():
            return _packed(value.bit_generator.state)
        case np.random.RandomState():
            return _packed(value.get_state(legacy=False))
        case random.Random():
            return value.getstate()
    return value


def _restore(owner: Any, name: str, state: Any) -> None:
    value = getattr(owner, name)
    if _is_row(value):
        as_is = {list: state.tolist(), np.ndarray: state.numpy()}
        value[:] = as_is.get(type(value), state)
        return
    match value:
        case torch.Generator():
            value.set_state(state)
        case np.random.Generator():
            value.bit_generator.state = _unpacked(state)
        case np.random.RandomState():
            value.set_state(_unpacked(state))
        case random.Random():
            value.setstate(state)
        case _ if value != state:
            setattr(owner, name, state)


def _packed(state: Any) -> Any:
    return mapped(state, lambda x: torch.from_numpy(x.copy()) if isinstance(x, np.ndarray) else x)


def _unpacked(state: Any) -> Any:
    return mapped(state, lambda x: x.numpy() if isinstance(x, Tensor) else x)
