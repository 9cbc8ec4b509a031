"""Loaders without end, and where a stopped run finds its place in them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

from nasp.errors import UsageError
from nasp.runs.random_state import random_states, restore_random_states
from nasp.training.passes import EndlessPasses, ResumableLoader, SamePass, epoch_length


def numbers(count: int) -> TensorDataset:
    return TensorDataset(torch.arange(count))


def drawn(loader: Iterable[Any], count: int) -> list[list[int]]:
    endless = EndlessPasses(loader)
    return [next(endless)[0].tolist() for _ in range(count)]


class Counter:
    """A resumable loader of the numbers 0, 1, 2."""

    def __init__(self) -> None:
        self.at = 0
        self.passes = 0

    def __iter__(self) -> Iterator[int]:
        self.passes += 1
        while self.at < 3:
            self.at += 1
            yield self.at - 1
        self.at = 0

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = state["at"]


def plain() -> DataLoader[Any]:
    return DataLoader(numbers(7), batch_size=2, shuffle=True)


def with_generator() -> DataLoader[Any]:
    own = torch.Generator().manual_seed(3)
    return DataLoader(numbers(7), batch_size=2, shuffle=True, generator=own)


def with_sampler() -> DataLoader[Any]:
    data = numbers(7)
    sampler = RandomSampler(data, generator=torch.Generator().manual_seed(4))
    return DataLoader(data, batch_size=2, sampler=sampler)


LOADERS = {"plain": plain, "generator": with_generator, "sampler": with_sampler}


@pytest.mark.parametrize("make", LOADERS.values(), ids=LOADERS)
@pytest.mark.parametrize("done", range(11))
def test_a_shuffled_loader_goes_on_where_it_was(make: Any, done: int) -> None:
    torch.manual_seed(5)
    endless = EndlessPasses(make())
    for _ in range(done):
        next(endless)
        torch.rand(3)  # what the training draws in between
    # In a checkpoint the values are as they were, whatever becomes of the tensors.
    state, states = copy.deepcopy((endless.state_dict(), random_states()))
    ahead = [(next(endless)[0].tolist(), torch.rand(2).tolist()) for _ in range(9)]

    torch.manual_seed(99)  # another process
    again = EndlessPasses(make())
    again.load_state_dict(state)
    restore_random_states(states)
    assert [(next(again)[0].tolist(), torch.rand(2).tolist()) for _ in range(9)] == ahead


@pytest.mark.parametrize("make", LOADERS.values(), ids=LOADERS)
def test_a_state_may_be_taken_up_twice(make: Any) -> None:
    endless = EndlessPasses(make())
    for _ in range(6):
        next(endless)
    state, states = copy.deepcopy((endless.state_dict(), random_states()))
    ahead = [next(endless)[0].tolist() for _ in range(5)]
    again = EndlessPasses(make())
    again.load_state_dict(state)
    restore_random_states(states)
    second, states = copy.deepcopy((again.state_dict(), random_states()))
    third = EndlessPasses(make())
    third.load_state_dict(second)
    restore_random_states(states)
    assert [next(third)[0].tolist() for _ in range(5)] == ahead


def test_two_loaders_may_share_a_generator() -> None:
    def pair() -> list[EndlessPasses]:
        own = torch.Generator().manual_seed(3)
        loaders = (DataLoader(numbers(n), 2, shuffle=True, generator=own) for n in (5, 9))
        return [EndlessPasses(loader) for loader in loaders]

    def draw(several: list[EndlessPasses], count: int) -> list[list[int]]:
        return [next(endless)[0].tolist() for _ in range(count) for endless in several]

    several = pair()
    draw(several, 7)
    states = copy.deepcopy([endless.state_dict() for endless in several])
    ahead = draw(several, 9)
    again = pair()
    for endless, state in zip(again, states, strict=True):
        endless.load_state_dict(state)
    assert draw(again, 9) == ahead


def test_every_pass_is_whole_and_shuffled_anew() -> None:
    batches = drawn(plain(), 12)
    passes = [[*chain(*batches[start : start + 4])] for start in (0, 4, 8)]
    assert [sorted(one) for one in passes] == [list(range(7))] * 3
    assert passes[0] != passes[1]


@pytest.mark.parametrize("done", range(8))
def test_a_resumable_loader_is_asked_for_its_own_place(done: int) -> None:
    loader = Counter()
    assert isinstance(loader, ResumableLoader)
    endless = EndlessPasses(loader)
    for _ in range(done):
        next(endless)
    state = copy.deepcopy(endless.state_dict())
    fresh = Counter()
    again = EndlessPasses(fresh)
    again.load_state_dict(state)
    assert [next(again) for _ in range(5)] == [(done + i) % 3 for i in range(5)]
    assert fresh.passes <= 3  # none was replayed


def test_a_plain_loader_is_not_resumable() -> None:
    assert not isinstance(plain(), ResumableLoader)


def test_an_empty_loader() -> None:
    with pytest.raises(UsageError, match="The training loader gives no batch"):
        next(EndlessPasses([], "The training loader"))


def test_a_loader_that_runs_dry() -> None:
    once: Iterator[Tensor] = iter([torch.zeros(1)])
    endless = EndlessPasses(once)
    next(endless)
    with pytest.raises(UsageError, match="gives no batch"):
        next(endless)


def test_epoch_length() -> None:
    assert epoch_length(plain()) == 4
    with pytest.raises(UsageError, match="must have a length"):
        epoch_length(Counter())
    with pytest.raises(UsageError, match="gives no batch"):
        epoch_length([])


class Carrying:
    """A loader whose batches begin with what was left in the one before."""

    def __init__(self) -> None:
        self.left = [0]

    def __iter__(self) -> Iterator[list[int]]:
        while True:
            self.left = list(self.left)
            yield self.left

    def state_dict(self) -> dict[str, Any]:
        return {"left": list(self.left)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.left = list(state["left"])


def test_what_is_left_in_a_batch_that_was_looked_at_is_carried_on() -> None:
    batches = EndlessPasses(Carrying())
    assert batches.peek() == [0]
    assert list(SamePass(batches, seed=0, count=1)) == [[0]]
    next(batches)[0] = 5  # a search leaves a hidden state there
    assert next(batches) == [5]
