"""Architectures one change away: all of them, the ones that the alphas favour first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import nn

import nasp
from nasp import Architecture, Choice, Node, Supernet
from nasp.bilevel.selection.neighbours import neighbours


def supernet() -> Supernet:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            edges = [
                Choice({n: nn.Identity() for n in "abc"}, f"cell/{i}", search_only=["c"])
                for i in range(2)
            ]
            self.node = Node(edges, keep=1)
            self.alone = Choice({"x": nn.Identity(), "y": nn.Tanh(), "z": nn.ReLU()})

    return Supernet(Net(), "small")


def test_the_alphas_favourites_come_first_and_what_cannot_survive_never() -> None:
    net = supernet()
    with torch.no_grad():
        net.alphas["cell"].copy_(torch.tensor([[0.9, 0.8, 1.0], [0.3, 0.2, 0.0]]))
        net.alphas["alone"].copy_(torch.tensor([[0.5, 0.6, 0.1]]))
    last = Architecture({"cell/0": "a", "cell/1": None, "alone": "x"}, "small")
    found = neighbours(net, last)
    assert [{e: c for e, c in n.edges.items() if c != last[e]} for n in found] == [
        {"alone": "y"},  # its alpha is even the larger
        {"cell/0": "b"},
        {"alone": "z"},
    ]
    assert all(n.space == "small" and n.changes(last) == 1 for n in found)


def selected(mode: str, epochs: int, **more: Any) -> Sequence[nasp.bilevel.selection.Contender]:
    torch.manual_seed(0)
    candidates = {str(k): nn.Linear(4, 4) for k in range(5)}
    x, y = torch.randn(32, 4), torch.randint(4, (32,))
    batches = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 32, 8)]
    net = nn.Sequential(nasp.Choice(candidates), nn.Linear(4, 4))
    more = {"strategy": "darts", "settings": {"lr": 1e-9}, **more}  # it stays where it starts
    selection = {"epochs": epochs}
    found = nasp.search(net, batches, batches, epochs=1, select=mode, selection=selection, **more)
    assert found.selection is not None
    return found.selection.contenders


@pytest.mark.parametrize(("epochs", "networks"), [(2, 2), (3, 3), (64, 5)])
def test_a_settled_search_is_compared_with_what_is_near(epochs: int, networks: int) -> None:
    contenders = selected("train", epochs)
    assert len(contenders) == networks
    assert all(contender.rungs for contender in contenders)
    (visited,) = [contender for contender in contenders if contender.visits]
    assert visited.shared is not None
    assert all(c.shared is None for c in contenders if c is not visited)


def test_reranking_looks_at_what_was_visited_alone() -> None:
    assert len(selected("rerank", 8)) == 1
