"""MobileNetV3-small by hand: its published figures, and as large as wanted."""

from __future__ import annotations

import pytest
import torch

from nasp.complexity.costs import macs, parameter_count
from nasp.domains.images.mobilenet import PUBLISHED, mobilenet, mobilenet_of
from nasp.spaces import NetworkConfig
from nasp.spaces.mobile import PRESETS

LARGE = NetworkConfig(image_size=224, stem="imagenet", classes=1000)


def test_its_figures_are_those_of_the_published_weights() -> None:
    with torch.device("meta"):  # of torchvision.models.mobilenet_v3_small
        network = mobilenet_of(LARGE, PUBLISHED)
        assert parameter_count(network) == 2_542_856
        assert macs(network, torch.randn(1, 3, 224, 224)) == 56_510_400


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_what_it_takes_at_its_width(name: str) -> None:
    with torch.device("meta"):
        taken = macs(mobilenet_of(LARGE, PRESETS[name]), torch.randn(1, 3, 224, 224))
    assert 0.9 < taken / (1e6 * int(name.removesuffix("m"))) <= 1


@pytest.mark.parametrize("parameters", [20_000, 300_000, 3_000_000])
def test_it_is_about_as_large_as_wanted(parameters: int) -> None:
    with torch.device("meta"):
        network = mobilenet(NetworkConfig(image_size=28, in_channels=1), parameters)
        assert network(torch.randn(2, 1, 28, 28)).shape == (2, 10)
    assert parameter_count(network) == pytest.approx(parameters, rel=0.25)
