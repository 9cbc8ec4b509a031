"""Loaders with states of their own: whole passes for a selection, the same bits after a stop."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler, TensorDataset

import nasp
from nasp.errors import NaspError
from nasp.runs.interruption import Interrupted
from nasp.training.events import Event, Stepped
from nasp.training.own_states import own_states, restore_own_states
from nasp.training.passes import EndlessPasses, SamePass


def rows(count: int, seed: int = 0) -> list[tuple[Tensor, Tensor]]:
    make = torch.Generator().manual_seed(seed)
    return [
        (torch.randn(8, 6, generator=make), torch.randint(3, (8,), generator=make))
        for _ in range(count)
    ]


class Restarting:
    """Goes on from a state that was just loaded, else from the start, as torchdata's does."""

    def __init__(self, data: list[Any]) -> None:
        self.data, self.at, self.resumed = data, 0, False

    def __len__(self) -> int:
        return len(self.data)

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at, self.resumed = state["at"], True

    def __iter__(self) -> Iterator[Any]:
        if not self.resumed:
            self.at = 0
        self.resumed = False
        while self.at < len(self.data):
            self.at += 1
            yield self.data[self.at - 1]


class Continuing(Restarting):
    """Goes on from wherever it is; what was read to the end begins anew."""

    def __iter__(self) -> Iterator[Any]:
        while self.at < len(self.data):
            self.at += 1
            yield self.data[self.at - 1]
        self.at = 0


class WithIterator(Restarting):
    """Has one iterator object, which `state_dict` makes where there is none, as torchdata's."""

    def __init__(self, data: list[Any]) -> None:
        super().__init__(data)
        self.iterator: _Iterator | None = None
        self.start: int | None = None
        self.is_new = False

    def state_dict(self) -> dict[str, Any]:
        if self.iterator is None:
            self.iterator, self.is_new = self._make(), True
        return {"at": self.iterator.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.iterator, self.start = None, state["at"]

    def __iter__(self) -> Iterator[Any]:
        if not (self.is_new and self.iterator is not None):
            self.iterator = self._make()
        self.is_new = False
        return self.iterator

    def _make(self) -> _Iterator:
        start, self.start = self.start or 0, None
        return _Iterator(self.data, start)


class _Iterator:
    def __init__(self, data: list[Any], at: int) -> None:
        self.data, self.at = data, at

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self.at == len(self.data):
            raise StopIteration
        self.at += 1
        return self.data[self.at - 1]


KINDS: list[Callable[[list[Any]], Restarting]] = [Restarting, Continuing, WithIterator]


class Counting:
    """Counts the batches that are measured, and which."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        if not torch.is_grad_enabled():
            self.seen.append(float(batch[0].sum()))
        return nn.functional.cross_entropy(network(batch[0]), batch[1]), {}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(6, 6), nasp.Choice({"a": nn.Linear(6, 6), "t": nn.Tanh()}), nn.Linear(6, 3)
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("val", [3, 4, 8])
def test_a_selection_measures_whole_passes(kind: Any, val: int) -> None:
    task, data = Counting(), rows(8)
    settings: dict[str, Any] = {"select": "rerank"}
    loaders = kind(data[:4]), kind(data[:val])
    found = nasp.search(network(), *loaders, task=task, epochs=3, **settings)
    assert found.selection is not None
    contenders = len(found.selection.contenders)
    assert task.seen == [float(x.sum()) for x, _ in data[:val]] * contenders


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("read", [0, 1, 4, 6])
def test_somebody_elses_pass_leaves_the_one_under_way_as_it_was(kind: Any, read: int) -> None:
    data = list(range(4))
    passes, undisturbed = EndlessPasses(kind(data)), EndlessPasses(kind(data))
    for each in (passes, undisturbed):
        for _ in range(read):
            next(each)
    same = SamePass(passes, seed=0)
    assert list(same) == list(same) == data
    assert list(SamePass(passes, seed=0, count=2)) == data[:2]
    assert [next(passes) for _ in range(9)] == [next(undisturbed) for _ in range(9)]


class Permuting(Sampler[int]):
    """Draws its order from a generator of its own, whatever its kind."""

    def __init__(self, count: int, make: Callable[[], Any]) -> None:
        self.count, self.source = count, make()

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        match self.source:
            case random.Random():
                order = list(range(self.count))
                self.source.shuffle(order)
                yield from order
            case torch.Generator():
                yield from torch.randperm(self.count, generator=self.source).tolist()
            case _:
                yield from self.source.permutation(self.count).tolist()


class InPlace(Sampler[int]):
    """Shuffles one order further and further, by a global generator."""

    def __init__(self, order: Any) -> None:
        self.order = order

    def __len__(self) -> int:
        return len(self.order)

    def __iter__(self) -> Iterator[int]:
        if isinstance(self.order, Tensor):
            self.order[:] = self.order[torch.randperm(len(self.order))]
        elif isinstance(self.order, list):
            random.shuffle(self.order)
        else:
            np.random.shuffle(self.order)
        yield from map(int, self.order)


class ByEpoch(Sampler[int]):
    """Counts its passes, and is seeded by their number."""

    def __init__(self, count: int) -> None:
        self.count, self.epoch = count, 0

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        self.epoch += 1
        make = torch.Generator().manual_seed(self.epoch)
        yield from torch.randperm(self.count, generator=make).tolist()


class Noisy(Dataset[Any]):
    """Draws its noise from a generator of its own."""

    def __init__(self, data: TensorDataset) -> None:
        self.data, self.noise = data, np.random.default_rng(3)

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, index: int) -> Any:
        x, y = self.data[index]
        return x + float(self.noise.normal()), y


class Seeded:
    """A loader of no library, seeded by the number of its pass."""

    def __init__(self, data: TensorDataset) -> None:
        self.inner, self.number = DataLoader(data, 8, sampler=Permuting(40, torch.Generator)), 0

    def __len__(self) -> int:
        return len(self.inner)

    def __iter__(self) -> Iterator[Any]:
        self.number += 1
        for x, y in self.inner:
            yield x + self.number, y


def loader(way: str, seed: int) -> Any:
    make = torch.Generator().manual_seed(seed)
    data = TensorDataset(
        torch.randn(40, 6, generator=make), torch.randint(3, (40,), generator=make)
    )
    sources: dict[str, Callable[[], Any]] = {
        "torch": lambda: torch.Generator().manual_seed(1),
        "numpy": lambda: np.random.default_rng(1),
        "philox": lambda: np.random.Generator(np.random.Philox(1)),
        "old numpy": lambda: np.random.RandomState(1),
        "python": lambda: random.Random(1),
    }
    if way in sources:
        return DataLoader(data, 8, sampler=Permuting(40, sources[way]))
    orders = {"list": list(range(40)), "array": np.arange(40), "tensor": torch.arange(40)}
    if way in orders:
        return DataLoader(data, 8, sampler=InPlace(orders[way]))
    if way == "counted":
        return DataLoader(data, 8, sampler=ByEpoch(40))
    if way == "dataset":
        return DataLoader(Noisy(data), 8, shuffle=True)
    if way == "loader":
        return Seeded(data)
    if way == "workers":
        return DataLoader(data, 8, shuffle=True, num_workers=1, persistent_workers=True)
    kinds = {"restarting": Restarting, "continuing": Continuing, "iterator": WithIterator}
    return kinds[way](rows(5, seed))


WAYS = [
    *("list", "array", "tensor"),
    *("torch", "numpy", "philox", "old numpy", "python", "counted", "dataset", "loader"),
    *("restarting", "continuing", "iterator"),
]


def stopped_and_whole(way: str, at: int, tmp_path: Path) -> None:
    def searched(run: str, at: int = 0) -> nasp.Found:
        left = [at]

        def observe(event: Event) -> None:
            left[0] -= isinstance(event, Stepped)
            if at and left[0] == 0:
                os.kill(os.getpid(), 15)

        loaders = loader(way, 1), loader(way, 2)
        settings: dict[str, Any] = {"run": tmp_path / run, "select": "rerank"}
        return nasp.search(network(), *loaders, epochs=3, observe=observe, **settings)

    whole = searched("whole")
    with pytest.raises(Interrupted):
        searched("run", at)
    again = searched("run")
    assert again.metrics == whole.metrics
    assert again.selection == whole.selection
    one, other = whole.supernet.state_dict(), again.supernet.state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("at", [3, 5, 12])
def test_a_stopped_search_resumes_to_the_same_bits(way: str, at: int, tmp_path: Path) -> None:
    stopped_and_whole(way, at, tmp_path)


def test_persistent_workers_start_anew_with_a_warning(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="persistent_workers=True is not followed"):
        stopped_and_whole("workers", 12, tmp_path)


def test_a_loader_that_was_built_otherwise_is_refused() -> None:
    with pytest.raises(NaspError, match=r"has 3 .* of its own, but its saved state has 4"):
        restore_own_states(loader("numpy", 0), own_states(loader("loader", 0)))
