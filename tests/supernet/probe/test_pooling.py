"""Max pooling by shifted maxima, against torch's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nasp.supernet.probe.pooling import max_pooled


@given(
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 9),
    st.integers(1, 9),
    st.sampled_from([1, 2, (1, 1), (2, 2)]),
    st.booleans(),
    st.booleans(),
)
def test_equals_the_layer_to_the_bit(
    batch: int,
    channels: int,
    height: int,
    width: int,
    stride: int,
    ceil_mode: bool,
    is_channels_last: bool,
) -> None:
    x = torch.randn(batch, channels, height, width)
    before = x.clone()
    if is_channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
    layer = nn.MaxPool2d(3, stride, 1, ceil_mode=ceil_mode)
    found, expected = max_pooled(x, layer), layer(x)
    assert torch.equal(found, expected)
    assert found.dtype == expected.dtype
    assert torch.equal(x, before)


@pytest.mark.parametrize(
    "layer",
    [
        nn.MaxPool2d(2),
        nn.MaxPool2d(3),
        nn.MaxPool2d(3, 1, 1, dilation=2),
        nn.MaxPool2d(3, 2, 1, ceil_mode=True),
        nn.MaxPool2d((3, 1), 1, (1, 0)),
        nn.MaxPool2d(3, (1, 2), 1),
        nn.MaxPool2d(3, 3, 1),
    ],
)
def test_other_windows_are_the_layers_own(layer: nn.MaxPool2d) -> None:
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(max_pooled(x, layer), layer(x))


def test_nan_is_passed_on_and_infinite_values_are_kept() -> None:
    x = torch.full((1, 1, 5, 5), -torch.inf)
    x[0, 0, 2, 2] = torch.nan
    layer = nn.MaxPool2d(3, 1, 1)
    torch.testing.assert_close(max_pooled(x, layer), layer(x), rtol=0, atol=0, equal_nan=True)


def test_keeps_the_layout() -> None:
    x = torch.randn(2, 4, 6, 6).contiguous(memory_format=torch.channels_last)
    found = max_pooled(x, nn.MaxPool2d(3, 1, 1))
    assert found.is_contiguous(memory_format=torch.channels_last)
