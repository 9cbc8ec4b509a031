"""Networks whose costs the tests know."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice, Node
from nasp.supernet.supernet import Supernet
from nasp.supernet.zero import Zero


def conv(kernel: int, channels: int = 4) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, kernel, padding=kernel // 2), nn.BatchNorm2d(channels)
    )


def edge(share: str | None = None) -> Choice:
    return Choice({"three": conv(3), "one": conv(1), "skip": nn.Identity(), "none": Zero()}, share)


class Cell(nn.Module):
    """Three edges of which two survive."""

    def __init__(self) -> None:
        super().__init__()
        self.node = Node([edge(f"cell/{row}") for row in range(3)], keep=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.node(x, x.sin(), x.cos())


class Gate(nn.Module):
    """A candidate with two choices of its own inside, one of them used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.before = Choice({"one": conv(1), "three": conv(3)})
        self.after = Choice({"skip": nn.Identity(), "one": conv(1)})
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.after(self.after(self.before(x) * self.scale))


class Net(nn.Module):
    """Two cells that share their rows, and a choice with choices inside."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.cells = nn.Sequential(Cell(), nn.AvgPool2d(2), Cell())
        self.gate = Choice({"gate": Gate(), "five": conv(5), "skip": nn.Identity()})
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gate(self.cells(self.stem(x))).mean(dim=(2, 3)))


@pytest.fixture
def supernet() -> Supernet:
    torch.manual_seed(0)
    return Supernet(Net())


@pytest.fixture
def architectures(supernet: Supernet) -> list[Architecture]:
    """Every architecture of the supernet: one in 37 of 2,304."""
    return list(itertools.islice(_all(supernet), 0, None, 37))


def _all(supernet: Supernet) -> Iterator[Architecture]:
    edges = supernet.edges
    candidates = [table.candidates for table in supernet.tables.values() for _ in table.edges]
    grouped = {e for group in supernet.groups for e in group.edges}
    kept = [itertools.combinations(group.edges, group.keep) for group in supernet.groups]
    alone = tuple(e for e in range(len(edges)) if e not in grouped)
    for survivors in itertools.product(*kept):
        on = [*alone, *itertools.chain(*survivors)]
        for names in itertools.product(*(candidates[e] for e in on)):
            chosen = dict(zip((edges[e] for e in on), names, strict=True))
            yield Architecture({name: chosen.get(name) for name in edges}, supernet.space)
