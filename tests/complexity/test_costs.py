"""FLOPs, parameters and memory of every operation, counted by hand."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nasp.complexity.costs import flops, macs, memory
from nasp.complexity.counting import _FORMULAS
from nasp.spaces.operations import OPERATIONS

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


class Function(nn.Module):
    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Any) -> Any:
        return self.function(*args)


def attention_macs(tokens: int, width: int) -> int:
    return 4 * tokens * width**2 + 2 * tokens**2 * width


X = torch.randn(1, 16, 32)
PACKED = nn.utils.rnn.pack_padded_sequence(torch.randn(16, 2, 32), [16, 9])
GATES = 4 * 8 * (32 + 8)


@pytest.mark.parametrize(
    ("operation", "inputs", "multiply_adds"),
    [
        (nn.MultiheadAttention(32, 4, batch_first=True), (X, X, X), attention_macs(16, 32)),
        (
            nn.TransformerEncoderLayer(32, 4, 256, batch_first=True),
            (X,),
            attention_macs(16, 32) + 2 * 16 * 32 * 256,
        ),
        (
            nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2),
            (X,),
            2 * (attention_macs(16, 32) + 2 * 16 * 32 * 64),
        ),
        (
            Function(F.scaled_dot_product_attention),
            [torch.randn(2, 3, 16, 8)] * 3,
            6 * 2 * 16**2 * 8,
        ),
        (nn.LSTM(32, 8, batch_first=True), (X,), 16 * GATES),
        (nn.LSTM(32, 8), (PACKED,), 25 * GATES),
        (nn.LSTM(32, 8, 2, bidirectional=True), (X,), 2 * 16 * (GATES + 4 * 8 * (16 + 8))),
        (nn.LSTM(32, 8, proj_size=4), (X,), 16 * (4 * 8 * (32 + 4) + 8 * 4)),
        (nn.GRU(32, 8), (X,), 16 * 3 * GATES // 4),
        (nn.RNN(32, 8), (X,), 16 * GATES // 4),
        (nn.Bilinear(3, 4, 5), (torch.randn(2, 6, 3), torch.randn(2, 6, 4)), 12 * 5 * 4 * (3 + 1)),
        (Function(torch.matmul), (torch.randn(4, 5), torch.randn(5)), 20),
        (Function(torch.sparse.mm), (torch.eye(10).to_sparse(), torch.randn(10, 5)), 50),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_what_fused_kernels_compute(operation: nn.Module, inputs: Any, multiply_adds: int) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="No FLOPs")
        assert macs(operation, *inputs) == multiply_adds
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_recurrent_kernel_of_a_gpu_counts_as_that_of_a_cpu() -> None:
    x = X.transpose(0, 1)
    for layer in (
        nn.LSTM(32, 8, 2, bidirectional=True),
        nn.GRU(32, 8),
        nn.LSTM(32, 8, proj_size=4),
    ):
        counted = _FORMULAS[torch.ops.aten._cudnn_rnn](x, list(layer.parameters()), 4, None)
        assert counted == flops(layer, x)


class Scaled(nn.Module):
    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.weights = nn.ParameterList([torch.ones(shape)])

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weights[0]


def test_parameters_for_which_nothing_is_counted_are_warned_of() -> None:
    for operation in (
        Scaled(32),
        nn.Sequential(Scaled(32)),
        nn.Sequential(nn.Linear(32, 32), Scaled(16, 32)),
    ):
        with pytest.warns(UserWarning, match="No FLOPs are counted for Scaled, which has param"):
            flops(operation, X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flops(nn.Sequential(nn.Linear(32, 32), Scaled(32), nn.LayerNorm(32)), X)
        flops(nn.BatchNorm1d(16), X)
        flops(nn.Embedding(3, 4), torch.zeros(1, dtype=torch.int64))
