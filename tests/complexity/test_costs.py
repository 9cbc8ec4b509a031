"""FLOPs, parameters and memory of every operation, counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nasp.complexity.costs import flops, macs, memory, parameter_count, running_parameters
from nasp.spaces.operations import OPERATIONS
from nasp.supernet.choice import Choice, Single

C, SIZE = 6, 10


def convolution(h: int, w: int, kernel: int, groups: int = 1, channels: int = C) -> int:
    """FLOPs of a convolution from C to `channels` channels with an output of h by w."""
    return 2 * h * w * channels * (C // groups) * kernel


def by_hand(name: str, stride: int) -> int:
    full, h = SIZE, SIZE // stride
    match name.rsplit("_", 1):
        case ["none", *_] | ["avg_pool" | "max_pool", _]:
            return 0
        case ["skip", "connect"]:
            return 0 if stride == 1 else 2 * convolution(h, h, 1, channels=C // 2)
        case ["conv_3x1", "1x3"]:
            return convolution(full, h, 3) + convolution(h, h, 3)
    kind, kernel = name.rsplit("_", 1)[0], int(name[-1])
    depthwise = convolution(h, h, kernel**2, groups=C)
    pointwise = convolution(h, h, 1)
    return {
        "conv": convolution(h, h, kernel**2),
        "nor_conv": convolution(h, h, kernel**2),
        "sep_conv": 2 * (depthwise + pointwise),
        "dil_conv": depthwise + pointwise,
    }[kind]


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_flops_of_every_operation(name: str, stride: int) -> None:
    operation = OPERATIONS[name](C, stride, True)
    x = torch.randn(1, C, SIZE, SIZE)
    assert flops(operation, x) == by_hand(name, stride)
    assert flops(operation, torch.cat([x, x, x])) == 3 * by_hand(name, stride)
    assert macs(operation, x) == by_hand(name, stride) / 2


FULL, HALF = C * SIZE * SIZE, C * SIZE * SIZE // 4


@pytest.mark.parametrize(
    ("name", "stride", "floats"),
    [
        ("none", 1, 0),
        ("skip_connect", 1, 0),
        ("avg_pool_3x3", 1, 0),  # needs its input alone, which is there in any case
        ("max_pool_3x3", 2, 2 * HALF),  # the places of the maxima, of 8 bytes each
        ("conv_3x3", 1, 2 * FULL),  # what the ReLU and the convolution give
        ("conv_3x3", 2, FULL + HALF),
        ("dil_conv_3x3", 1, 3 * FULL),
        ("sep_conv_5x5", 2, FULL + 2 * HALF + 3 * HALF),
    ],
)
def test_memory_is_what_the_backward_pass_reads(name: str, stride: int, floats: int) -> None:
    operation = OPERATIONS[name](C, stride, True)
    x = torch.randn(1, C, SIZE, SIZE)
    assert memory(operation, x) == 4 * floats
    assert memory(operation, x.double().float().repeat(2, 1, 1, 1)) == 8 * floats


def test_memory_counts_dropouts_mask_and_needs_no_more_than_one_example() -> None:
    layers = nn.Sequential(nn.Linear(8, 8, bias=False), nn.BatchNorm1d(8), nn.Dropout(0.5))
    plain = memory(layers[:2], torch.randn(1, 8))
    assert plain == 8 * 4
    assert memory(layers, torch.randn(1, 8)) > plain


@pytest.mark.parametrize("cost", [flops, memory])
def test_nothing_is_left_changed(cost: object) -> None:
    layers = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2), nn.Dropout(0.5))
    layers[1].eval()
    before = {name: tensor.clone() for name, tensor in layers.state_dict().items()}
    x, state = torch.randn(2, 2, 3, 3), torch.get_rng_state()
    cost(layers, x)  # type: ignore[operator]
    assert [module.training for module in layers.modules()] == [True, True, False, True]
    assert all(torch.equal(tensor, before[name]) for name, tensor in layers.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert not x.requires_grad
    assert all(weight.grad is None for weight in layers.parameters())


def test_of_a_choice_the_running_candidate_counts() -> None:
    inner = Choice({"small": nn.Linear(2, 1), "large": nn.Linear(2, 8)})
    operation = nn.Sequential(nn.Linear(3, 2), inner)
    assert parameter_count(operation) == 8 + 3 + 24
    assert running_parameters(operation) == 8 + 3
    inner.run = Single(1)
    assert running_parameters(operation) == 8 + 24
