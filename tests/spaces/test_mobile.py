"""The space of inverted residuals: its shapes, MobileNetV3-small in it, what its probe fuses."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import nn

from nasp.complexity.costs import macs, parameter_count
from nasp.errors import UsageError
from nasp.spaces import NetworkConfig
from nasp.spaces.layers import Residual
from nasp.spaces.mobile import MOBILE, SMALL_BY_HAND, widths
from nasp.supernet.choice import Choice
from nasp.supernet.excitation import SqueezeExcitation

LARGE = NetworkConfig(channels=16, cells=1, image_size=224, stem="imagenet", classes=1000)
LEAST = "|".join(["e3_k3,skip,skip"] * 5)


def test_mobilenet_v3_small_is_nearly_one_of_its_networks() -> None:
    with torch.device("meta"):
        network = MOBILE.network(MOBILE.parse(SMALL_BY_HAND), LARGE)
        assert parameter_count(network) == 2_539_088
        assert macs(network, torch.randn(1, 3, 224, 224)) == 65_354_464
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    depthwise = [m for m in convolutions if m.groups > 1]
    assert [m.kernel_size[0] for m in depthwise] == [3] * 3 + [5] * 8
    assert [m.stride[0] for m in depthwise] == [2, 2, 1, 2, 1, 1, 1, 1, 2, 1, 1]
    assert sum(isinstance(m, SqueezeExcitation) for m in network.modules()) == 9


@pytest.mark.parametrize(
    ("channels", "expected"),
    [(1, [1, 2, 3, 3, 6]), (4, [4, 8, 12, 12, 24]), (16, [16, 24, 40, 48, 96])],
)
def test_widths_grow_with_the_channels(channels: int, expected: list[int]) -> None:
    assert widths(channels) == expected


@pytest.mark.parametrize("name", ["channels", "cells"])
def test_a_larger_size_is_a_larger_network(name: str) -> None:
    architecture = MOBILE.parse(SMALL_BY_HAND)
    small = NetworkConfig(channels=8, cells=1)
    large = small.model_copy(update={name: 2 * getattr(small, name)})
    with torch.device("meta"):
        counts = [parameter_count(MOBILE.network(architecture, size)) for size in (small, large)]
    assert counts[1] > 1.4 * counts[0]


@pytest.mark.parametrize(
    ("stem", "side", "sides"),
    [("imagenet", 224, [56, 28, 14, 14, 7]), ("cifar", 28, [28, 14, 7, 7, 4])],
)
def test_resolutions_of_the_stages(stem: str, side: int, sides: list[int]) -> None:
    config = NetworkConfig.model_validate({"channels": 4, "cells": 1, "stem": stem})
    seen = []
    with torch.device("meta"):
        network = MOBILE.network(MOBILE.parse(LEAST), config)
        for stage in network.get_submodule("stages").children():
            stage.register_forward_hook(lambda _m, _x, output: seen.append(output.shape[-1]))
        network(torch.randn(2, 3, side, side))
    assert seen == sides


def test_a_layer_that_is_left_out_is_nothing() -> None:
    with torch.device("meta"):
        network = MOBILE.network(MOBILE.parse(LEAST), NetworkConfig(channels=16, cells=3))
    # But the first stage's first layer, whose shape stays as it is with the small stem.
    assert sum(isinstance(m, Residual) for m in network.modules()) == 1
    assert sum(isinstance(m, nn.Identity) for m in network.modules()) == 5 * 3 * 2


def test_every_candidate_is_a_chain_of_the_closed_form() -> None:
    with torch.device("meta"):
        supernet = MOBILE.supernet(MOBILE.small)
    choices = [m for m in supernet.modules() if isinstance(m, Choice)]
    for choice in choices:
        chains = choice.probeable.chains
        assert all(c is not None and c.ends_in_norm for c in chains[:12])
        assert len({c.signature for c in chains[:12] if c is not None}) == 12
        # The projection narrows: it is run, and its BatchNorm is not.
        assert {len(c.layers) - c.stop for c in chains[:12] if c is not None} == {1}
    assert Counter(len(choice.names) for choice in choices) == {12: 5, 13: 10}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LEAST.replace("skip", "e9_k3", 1), "'e9_k3': choose one of e3_k3, e3_k3_se"),
        ("skip" + LEAST[5:], "on edge 'first/0' of space 'mobile' 'skip'"),
        (LEAST + "|e3_k3", "no network of 'mobile': write first,second,third|first"),
    ],
)
def test_what_is_wrong_with_a_text_is_said(text: str, reason: str) -> None:
    with pytest.raises(UsageError) as error:
        MOBILE.parse(text)
    assert reason in str(error.value)


def test_the_wiring_leaves_out_what_is_left_out() -> None:
    wires = MOBILE.wiring(MOBILE.parse("e3_k5,skip,e6_k7" + LEAST[len("e3_k3,skip,skip") :]))
    assert [tuple(wire) for wire in wires[:3]] == [
        ("stage 1", "input", "first", "e3_k5"),
        ("stage 1", "first", "third", "e6_k7"),
        ("stage 2", "input", "first", "e3_k3"),
    ]
