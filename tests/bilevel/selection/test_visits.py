"""Where a search has been: counts of its second half, the ends of epochs, what is proposed."""

from __future__ import annotations

import io

import torch
from torch import nn

from nasp import Architecture, Choice, Node, Supernet
from nasp.bilevel.selection import Visits
from nasp.supernet.path import Path


def supernet() -> Supernet:
    """Return two edges in a node of which one survives, and an edge of its own."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            edges = [Choice({"a": nn.Identity(), "b": nn.Tanh()}, f"cell/{i}") for i in range(2)]
            self.node = Node(edges, keep=1)
            self.alone = Choice({"x": nn.Identity(), "y": nn.Tanh(), "z": nn.ReLU()})

    return Supernet(Net(), "small")


def architecture(first: str | None, second: str | None, alone: str) -> Architecture:
    return Architecture({"cell/0": first, "cell/1": second, "alone": alone}, "small")


A, B, C, D = (
    architecture("a", None, "x"),
    architecture("b", None, "y"),
    architecture(None, "b", "z"),
    architecture(None, "a", "x"),
)


def path(of: Architecture) -> Path:
    return supernet().path(of)


def after(steps: str, ends: str) -> Visits:
    names = {"A": A, "B": B, "C": C, "D": D}
    visits = Visits(supernet(), len(steps))
    for name in steps:
        visits.step(path(names[name]))
    for name in ends:
        visits.end_epoch(path(names[name]))
    return visits


def test_only_the_second_half_is_counted() -> None:
    visits = after("AAAABBCB", "")
    assert [visits.count(x) for x in (A, B, C, D)] == [0, 3, 1, 0]


def test_ends_and_most_visited_are_proposed_in_turn() -> None:
    visits = after("CCCCCC" + "DDDAAC", "ABAC")
    # The ends from the last back are C, A, B; the most visited D, A, C.
    assert visits.propose(9) == [C, D, A, B]
    assert visits.propose(2) == [C, D]
    assert visits.epochs(A) == (1, 3)
    assert visits.epochs(D) == ()


def test_of_equal_counts_the_latest_comes_first() -> None:
    assert after("DDDD" + "ABAB", "").propose(9) == [B, A]
    assert after("DDDD" + "BABA", "").propose(9) == [A, B]


def test_a_restored_count_goes_on() -> None:
    whole = after("AAAABBCD", "AB")
    first = Visits(supernet(), 8)
    for x in (A, A, A, A, B):
        first.step(path(x))
    first.end_epoch(path(A))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = Visits(supernet(), 8)
    second.load_state_dict(torch.load(file, weights_only=True))
    for x in (B, C, D):
        second.step(path(x))
    second.end_epoch(path(B))
    assert second.propose(9) == whole.propose(9)
    assert [second.count(x) for x in (A, B, C, D)] == [whole.count(x) for x in (A, B, C, D)]
    assert second.epochs(B) == (2,)


def test_an_empty_count_can_be_saved() -> None:
    visits = Visits(supernet(), 4)
    visits.load_state_dict(visits.state_dict())
    assert visits.propose(3) == []
