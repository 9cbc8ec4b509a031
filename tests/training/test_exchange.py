"""What a step sends to the other processes: the path's gradients, and a few figures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import nasp
from nasp.errors import NaspError
from nasp.strategies import Horizon, Problem, make_strategy
from nasp.supernet.supernet import Supernet
from nasp.training.device import make_fabric
from nasp.training.learner import Learner
from nasp.training.ranks import RankLostError, Ranks
from nasp.training.supervised import Supervised


def network() -> nn.Module:
    torch.manual_seed(0)
    wide = nn.Sequential(nn.Conv2d(2, 50, 3, padding=1), nn.Conv2d(50, 2, 1))
    edge = nasp.Choice({"wide": wide, "narrow": nn.Conv2d(2, 2, 1), "skip": nn.Identity()})
    return nn.Sequential(nn.Conv2d(1, 2, 1), edge, nn.Flatten(), nn.Linear(32, 3))


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers in each message of a process whose fellow sends nothing but zeros."""
    sizes: list[int] = []
    monkeypatch.setattr("torch.distributed.all_reduce", lambda flat: sizes.append(flat.numel()))
    monkeypatch.setattr("nasp.training.learner.ranks_of", lambda _: Ranks(0, 2))
    return sizes


def problem(supernet: Supernet) -> Problem:
    def sgd(weights: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(weights, lr=0.1)

    fabric = make_fabric("cpu", "32-true")
    learner = Learner(fabric, supernet, Supervised(), supernet.weights(), sgd)
    return Problem(supernet, learner, Horizon(1, 1), 0, lambda _: torch.zeros(()))


def batch() -> tuple[Tensor, Tensor]:
    return torch.randn(4, 1, 4, 4), torch.tensor([0, 1, 2, 0])


def test_a_step_sends_the_gradients_of_its_path_and_no_more(sent: list[int]) -> None:
    supernet = Supernet(network())
    strategy = make_strategy("nasp", problem(supernet), {"uniform": 0.0})
    strategy.path = (1,)  # type: ignore[attr-defined]
    strategy.weight_step(batch())
    stem_and_head, narrow = 2 * 1 + 2 + 32 * 3 + 3, 2 * 2 + 2
    figures = 3  # loss, accuracy and top 5 of three classes, as far as they are told
    # A mask of which weights have a gradient, since the network is the user's own; then the sum.
    mask = len(supernet.weights())
    assert sent[0] == mask
    assert stem_and_head + narrow < sent[1] <= stem_and_head + narrow + figures
    assert len(sent) == 2


def test_a_step_of_the_alphas_sends_a_number_a_candidate(sent: list[int]) -> None:
    supernet = Supernet(network())
    strategy = make_strategy("nasp", problem(supernet), {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("torch.distributed.broadcast_object_list", lambda *_, **__: None)
        strategy.arch_step(batch())
    assert max(sent) < 20


def test_what_is_not_alike_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def another(made: list[Any], **_: Any) -> None:
        made[0] = (b"another", None)

    monkeypatch.setattr("torch.distributed.broadcast_object_list", another)
    monkeypatch.setattr("torch.distributed.all_reduce", lambda flat: None)
    with pytest.raises(NaspError, match="do not have the same architecture parameters"):
        Ranks(1, 2).agree("architecture parameters", {"a": 1.0})


def test_a_process_that_is_gone_is_said_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(_: Tensor) -> None:
        raise RuntimeError("Connection closed by peer [127.0.0.1]:29500")

    monkeypatch.setattr("torch.distributed.all_reduce", lost)
    with pytest.raises(RankLostError, match="Another process of this run has ended"):
        Ranks(0, 2).sum([torch.zeros(3)])


@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_shares_are_whole_and_apart(count: int) -> None:
    size = 3
    bounds = [Ranks(rank, size).bounds(count) for rank in range(size)]
    assert sum(share for _, share in bounds) == pytest.approx(1)
    taken = [place for part, _ in bounds for place in range(count)[part]]
    assert sorted(taken) == (
        list(range(count)) if count >= size else sorted(size * list(range(count)))
    )
