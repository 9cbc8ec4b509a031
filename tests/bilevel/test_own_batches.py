"""Any batch that the task understands, and any loader: lists, dictionaries, graphs, streams."""

from __future__ import annotations

from collections import UserDict, namedtuple
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, IterableDataset

import nasp
from nasp.errors import UsageError
from nasp.training.batches import batch_length, moved, one_example, parts_of, split_batch

CPU = torch.device("cpu")


class OfFunction:
    """A task from a function of network and batch."""

    def __init__(self, error: Callable[[nn.Module, Any], Tensor]) -> None:
        self.error = error

    def loss(self, network: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor]]:
        return self.error(network, batch), {}


def linear(width: int = 4) -> nn.Module:
    torch.manual_seed(0)
    choice = nasp.Choice({"linear": nn.Linear(width, width), "tanh": nn.Tanh()})
    return nn.Sequential(nn.Linear(width, width), choice)


def convolution() -> nn.Module:
    torch.manual_seed(0)
    choice = nasp.Choice({"c3": nn.Conv2d(3, 4, 3, padding=1), "c1": nn.Conv2d(3, 4, 1)})
    return nn.Sequential(choice)


def detection() -> tuple[nn.Module, Any, Any]:
    images = [torch.rand(3, 20, 30), torch.rand(3, 24, 24)]
    targets = [{"boxes": torch.rand(2, 4)}, {"boxes": torch.rand(5, 4)}]

    def error(net: nn.Module, batch: Any) -> Tensor:
        out = torch.stack([net(image[None]).mean() for image in batch[0]])
        return (out - torch.stack([t["boxes"].mean() for t in batch[1]])).square().mean()

    return convolution(), (images, targets), error


@dataclass(frozen=True)
class Graph:
    """Nodes, edges between them, and a label a graph."""

    nodes: Tensor
    edges: Tensor
    label: Tensor
    name: str = "graph"


def graph() -> tuple[nn.Module, Any, Any]:
    batch = Graph(torch.rand(5, 4), torch.tensor([[0, 1, 2], [1, 2, 4]]), torch.rand(1))

    def error(net: nn.Module, batch: Graph) -> Tensor:
        source, target = batch.edges
        passed = batch.nodes.index_add(0, target, net(batch.nodes)[source])
        return (passed.mean() - batch.label).square().mean()

    return linear(), batch, error


def ctc() -> tuple[nn.Module, Any, Any]:
    # 6 frames, 3 sequences, 4 letters; the targets stand one after the other.
    batch = (
        torch.rand(6, 3, 4),
        torch.tensor([1, 2, 3, 1, 2]),
        torch.tensor([6, 5, 6]),
        torch.tensor([2, 1, 2]),
    )

    def error(net: nn.Module, batch: Any) -> Tensor:
        return nn.functional.ctc_loss(net(batch[0]).log_softmax(2), *batch[1:])

    return linear(), batch, error


def packed() -> tuple[nn.Module, Any, Any]:
    batch = (pack_sequence([torch.rand(3, 4), torch.rand(2, 4)]), torch.rand(2))

    def error(net: nn.Module, batch: Any) -> Tensor:
        return (net(batch[0].data).mean() - batch[1].mean()).square()

    return linear(), batch, error


def encoding() -> tuple[nn.Module, Any, Any]:
    batch = UserDict({"x": torch.rand(6, 4), "labels": torch.rand(6, 4), "ids": ["a"] * 6})

    def error(net: nn.Module, batch: Any) -> Tensor:
        assert isinstance(batch, UserDict)
        assert len(batch["ids"]) == len(batch["x"])
        return nn.functional.mse_loss(net(batch["x"]), batch["labels"])

    return linear(), batch, error


class Library:
    """A batch of another library's: it knows how to move, and nothing else is known of it."""

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.moves = 0

    def to(self, device: torch.device) -> Library:
        moved = Library(self.x.to(device))
        moved.moves = self.moves + 1
        return moved


def foreign() -> tuple[nn.Module, Any, Any]:
    def error(net: nn.Module, batch: Any) -> Tensor:
        assert batch.moves == 1
        out: Tensor = net(batch.x).square().mean()
        return out

    return linear(), Library(torch.rand(3, 4)), error


KINDS = [detection, graph, ctc, packed, encoding, foreign]


@pytest.mark.parametrize("kind", KINDS)
def test_any_batch_that_the_task_understands(kind: Any, tmp_path: Path) -> None:
    network, batch, error = kind()
    settings: dict[str, Any] = {"epochs": 2, "select": "train", "selection": {"epochs": 2}}
    task, loaders = OfFunction(error), ([batch] * 2, [batch] * 2)
    found = nasp.search(network, *loaders, task=task, at_most={"params": "1M"}, **settings)
    assert found.metrics[0]["train_loss"] > 0
    assert found.selection is not None
    assert len(found.selection.contenders[0].rungs) == 1


@pytest.mark.parametrize("strategy", ["darts-second-order", "random-sharing", "synflow", "params"])
def test_every_strategy_takes_batches_of_several_sizes(strategy: str) -> None:
    network, batch, error = detection()
    select = {} if strategy == "random-sharing" else {"select": "none"}
    loaders = [batch] * 2, [batch] * 2
    settings: dict[str, Any] = {"strategy": strategy, "epochs": 1, **select}
    assert nasp.search(network, *loaders, task=OfFunction(error), **settings).architecture


@pytest.mark.parametrize("kind", [detection, graph, ctc, packed, foreign])
def test_only_accumulation_needs_to_split(kind: Any) -> None:
    network, batch, error = kind()
    task = OfFunction(error)
    with pytest.raises(UsageError, match=r"must agree in dimension 0|cannot split"):
        nasp.search(network, [batch], [batch], task=task, epochs=1, accumulate=2)


def test_a_task_may_say_how_its_batches_are_split() -> None:
    network, batch, error = detection()

    class Detect(OfFunction):
        def split(self, batch: Any, parts: int) -> Iterator[tuple[Any, float]]:
            images, targets = batch
            for one, other in zip(images, targets, strict=True):
                yield ([one], [other]), 1 / len(images)

    def trained(parts: int) -> dict[str, Tensor]:
        settings: dict[str, Any] = {"precision": "64-true", "epochs": 1, "accumulate": parts}
        found = nasp.search(convolution(), [batch], [batch], task=Detect(error), **settings)
        return found.supernet.state_dict()

    torch.testing.assert_close(trained(2), trained(1))
    parts = parts_of(batch, 2, Detect(error))
    assert [len(part.batch[0]) for part in parts] == [1, 1]

    class Wrong(OfFunction):
        def split(self, batch: Any, parts: int) -> list[tuple[Any, float]]:
            return [(batch, 1.0), (batch, 1.0)]

    with pytest.raises(UsageError, match=r"Wrong\.split gives .* add up to 2: they must"):
        nasp.search(network, [batch], [batch], task=Wrong(error), epochs=1, accumulate=2)


Pair = namedtuple("Pair", ["x", "y"])


@pytest.mark.parametrize(
    "batch",
    [
        {"x": torch.arange(6.0), "ids": list("abcdef")},
        UserDict(x=torch.arange(6.0), ids=list("abcdef")),
        Pair(torch.arange(6.0), list("abcdef")),
    ],
)
def test_words_are_split_with_their_examples(batch: Any) -> None:
    parts = [part.batch for part in split_batch(batch, 4)]
    assert all(type(part) is type(batch) for part in parts)
    pairs = [(p.x, p.y) if isinstance(p, Pair) else (p["x"], p["ids"]) for p in parts]
    assert [len(x) for x, _ in pairs] == [len(ids) for _, ids in pairs]
    assert "".join(word for _, ids in pairs for word in ids) == "abcdef"


def test_a_frozen_dataclass_is_moved_and_left_as_it_was() -> None:
    batch = replace(graph()[1], name="other")
    there = moved(batch, torch.device("meta"))
    assert there.nodes.device.type == "meta"
    assert (there.name, batch.nodes.device.type) == ("other", "cpu")
    assert batch_length(batch) is None
    assert one_example(batch) is batch


class Stream(IterableDataset[Any]):
    """Rows, with a length or without."""

    def __init__(self, seed: int, count: int = 24) -> None:
        self.seed, self.count = seed, count

    def __iter__(self) -> Iterator[Any]:
        make = torch.Generator().manual_seed(self.seed)
        for _ in range(self.count):
            yield torch.randn(4, generator=make), torch.randn(4, generator=make)


class Sized(Stream):
    """A stream that says how long it is."""

    def __len__(self) -> int:
        return self.count


@pytest.mark.parametrize("select", ["none", "rerank", "train"])
def test_a_stream_is_either_loader_and_epoch_steps_says_how_long_an_epoch_is(select: Any) -> None:
    settings: dict[str, Any] = {"epochs": 3, "select": select, "selection": {"epochs": 2}}

    def searched(kind: type[Stream], **more: Any) -> nasp.Found:
        loaders = DataLoader(kind(1), batch_size=4), DataLoader(kind(2), batch_size=4)
        return nasp.search(linear(), *loaders, task=nn.MSELoss(), **settings, **more)

    without, whole = searched(Stream, epoch_steps=6), searched(Sized)
    assert without.metrics == whole.metrics  # 24 rows in batches of 4
    assert without.architecture == whole.architecture
    assert len(searched(Stream, epoch_steps=2).metrics) == 3
    with pytest.raises(UsageError, match=r"give one that has, or epoch_steps\."):
        searched(Stream)


def test_a_search_on_endless_streams_resumes_to_the_same_bits(tmp_path: Path) -> None:
    def loader(seed: int) -> DataLoader[Any]:
        return DataLoader(Stream(seed, count=10**9), batch_size=4)

    def searched(run: str, at: int = 0) -> nasp.Found:
        left = [at]

        def observe(event: Any) -> None:
            left[0] -= type(event).__name__ == "Stepped"
            if at and left[0] == 0:
                raise KeyboardInterrupt

        settings: dict[str, Any] = {"epochs": 3, "epoch_steps": 4, "checkpoint_minutes": 1e-9}
        return nasp.search(
            linear(),
            loader(1),
            loader(2),
            task=nn.MSELoss(),
            run=tmp_path / run,
            observe=observe,
            **settings,
        )

    whole = searched("whole")
    with pytest.raises(KeyboardInterrupt):
        searched("run", at=7)
    again = searched("run")
    assert again.metrics == whole.metrics
    states = whole.supernet.state_dict(), again.supernet.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
