"""The hand-made network: its size, and that it trains."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nasp.domains.images.baseline import _count, _network, residual_network
from nasp.spaces import NetworkConfig


def size(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


configs = st.builds(
    NetworkConfig,
    in_channels=st.integers(1, 4),
    image_size=st.integers(4, 16),
    classes=st.integers(2, 12),
)


@settings(max_examples=25)
@given(config=configs, width=st.integers(1, 48))
def test_the_closed_form_counts_right(config: NetworkConfig, width: int) -> None:
    assert _count(config, width) == size(_network(config, width))


@settings(max_examples=40)
@given(config=configs, parameters=st.integers(0, 60_000))
def test_no_other_width_comes_closer(config: NetworkConfig, parameters: int) -> None:
    built = size(residual_network(config, parameters))
    distances = [abs(_count(config, width) - parameters) for width in range(1, 80)]
    assert abs(built - parameters) == min(distances)


def test_a_large_one_is_as_large_as_wanted() -> None:
    network = residual_network(NetworkConfig(), 3_349_342)
    assert abs(size(network) - 3_349_342) < 0.02 * 3_349_342


@pytest.mark.parametrize("parameters", [2416, 10_000, 78_624])
def test_a_small_one_is_as_large_as_wanted(parameters: int) -> None:
    network = residual_network(NetworkConfig(in_channels=1, image_size=8, classes=10), parameters)
    assert abs(size(network) - parameters) < 0.1 * parameters


def test_forward() -> None:
    network = residual_network(NetworkConfig(in_channels=1, image_size=8, classes=7), 5000)
    logits = network(torch.randn(3, 1, 8, 8))
    assert logits.shape == (3, 7)
    logits.sum().backward()
    assert all(p.grad is not None for p in network.parameters())
