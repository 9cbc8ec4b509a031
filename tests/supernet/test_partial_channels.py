"""Candidates on a part of the channels against the mixed operation of PC-DARTS, written out."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from nasp.errors import UsageError
from nasp.supernet.choice import Choice, Mixture, Single
from nasp.supernet.derive import derive
from nasp.supernet.partial_channels import PartialChannels, alike_frames
from nasp.supernet.supernet import Supernet
from nasp.supernet.zero import Zero

PARTS = 4


@pytest.fixture(autouse=True)
def _double(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randn", lambda *size: torch.empty(size).double().normal_())


def operations(stride: int) -> dict[str, nn.Module]:
    """Return candidates of two channels."""
    conv = nn.Conv2d(2, 2, 3, stride, 1)
    return {
        "conv": nn.Sequential(nn.ReLU(), conv, nn.BatchNorm2d(2)).double(),
        "pool": nn.AvgPool2d(3, stride, 1),
        "none": Zero(stride=stride),
    }


def partial(stride: int) -> Choice:
    return Choice({n: PartialChannels(o, PARTS, stride) for n, o in operations(stride).items()})


def mixed_operation(choice: Choice, weights: Tensor, x: Tensor, stride: int) -> Tensor:
    """Return the paper's edge: mix the first quarter, keep the rest, interleave the quarters."""
    batch, channels, height, width = x.shape
    seen, rest = x[:, : channels // PARTS], x[:, channels // PARTS :]
    inner = [o.operation for o in choice.operations]
    mixed = torch.stack([w * o(seen) for w, o in zip(weights, inner, strict=True)]).sum(dim=0)
    if stride == 2:
        rest = nn.MaxPool2d(2, 2, ceil_mode=True)(rest)
    joined = torch.cat([mixed, rest], dim=1)
    height, width = joined.shape[2:]
    groups = joined.view(batch, PARTS, channels // PARTS, height, width)
    return groups.transpose(1, 2).reshape(batch, channels, height, width)


@pytest.mark.parametrize(("stride", "size"), [(1, 5), (2, 6), (2, 5)])
def test_a_mixture_is_the_papers_edge(stride: int, size: int) -> None:
    choice = partial(stride)
    again = copy.deepcopy(choice)
    x = torch.randn(3, 8, size, size).requires_grad_()
    weights = torch.tensor([0.3, -0.1, 0.8]).double().requires_grad_()
    choice.run = Mixture(weights)
    shares = (weights / weights.sum()).detach().requires_grad_()
    again.run = Mixture(shares)
    expected = mixed_operation(again, shares, x, stride)
    torch.testing.assert_close(again(x), expected, rtol=0, atol=1e-12)
    assert expected.shape == (3, 8, -(-size // stride), -(-size // stride))
    # Weights that do not add up to 1 scale the edge, as the strengths of edges do.
    torch.testing.assert_close(choice(x), weights.sum() * expected, rtol=0, atol=1e-12)
    inputs = [x, shares, *again.parameters()]
    probe = torch.randn(*expected.shape)
    found = torch.autograd.grad((again(x) * probe).sum(), inputs)
    plain = torch.autograd.grad((mixed_operation(again, shares, x, stride) * probe).sum(), inputs)
    for index, (one, other) in enumerate(zip(found, plain, strict=True)):
        # The channels that go past reach every weight alike, where the paper's do not at all.
        offset = (one - other).mean() if index == 1 else 0.0
        torch.testing.assert_close(one - offset, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_mixture_is_the_sum_of_its_candidates(stride: int) -> None:
    choice = partial(stride)
    x = torch.randn(2, 8, 6, 6)
    outputs = [operation(x) for operation in choice.operations]
    for weights, support in (([0.2, 0.5, 0.7], None), ([0.4, 0.0, 0.6], (0, 2))):
        choice.run = Mixture(torch.tensor(weights, dtype=torch.float64), support)
        expected = sum(w * out for w, out in zip(weights, outputs, strict=True))
        torch.testing.assert_close(choice(x), expected, rtol=0, atol=1e-12)


def test_the_operations_run_once_each_on_their_part_alone() -> None:
    choice = partial(1)
    widths = []
    for operation in choice.operations:
        operation.operation.register_forward_hook(
            lambda _, args, __: widths.append(args[0].shape[1])
        )
    choice.run = Mixture(torch.full((3,), 1 / 3).double())
    choice(torch.randn(2, 8, 4, 4))
    assert widths == [2, 2, 2]


def test_every_channel_is_seen_after_enough_layers() -> None:
    x = torch.arange(8.0).view(1, 8, 1)
    layer = PartialChannels(nn.Identity(), PARTS)
    assert layer(x).flatten().tolist() == [0, 2, 4, 6, 1, 3, 5, 7]
    seen = set()
    for _ in range(4):
        seen |= set(x[0, :2, 0].tolist())
        x = layer(x)
    assert seen == {0, 1, 2, 4}


def test_mixed_company_is_summed_as_it_is() -> None:
    one, other = PartialChannels(nn.Identity(), 2), PartialChannels(nn.Identity(), 2)
    assert alike_frames([one, other]) == [one, other]
    for stranger in (
        nn.Identity(),
        PartialChannels(nn.Identity(), 4),
        PartialChannels(nn.Identity(), 2, stride=2),
    ):
        assert alike_frames([one, stranger]) == []
    choice = Choice({"partial": one, "whole": nn.Identity()})
    choice.run = Mixture(torch.tensor([1.0, 1.0]).double())
    x = torch.randn(1, 4, 2)
    torch.testing.assert_close(choice(x), one(x) + x)


def test_a_derived_network_keeps_the_frame_and_nothing_of_nasp() -> None:
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), partial(2)).double()
    supernet = Supernet(net)
    supernet.network[1].run = Single(1)  # type: ignore[index,union-attr]
    child = derive(supernet, supernet.architecture((1,)))
    x = torch.randn(2, 1, 6, 6)
    torch.testing.assert_close(child(x), supernet(x))
    assert "nasp" not in repr(child)
    torch.export.export(child, (x,))


@pytest.mark.parametrize("parts", [1, 0, -2])
def test_there_are_at_least_two_parts(parts: int) -> None:
    with pytest.raises(UsageError, match=f"PartialChannels needs at least 2 parts, not {parts}"):
        PartialChannels(nn.Identity(), parts)
