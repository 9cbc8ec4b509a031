"""What the target of a bound is called; that it is exact is one of the tests of every space."""

from __future__ import annotations

from nasp.domains.images.networks import target as space_target
from nasp.spaces import SPACES, NetworkConfig

SIZE = NetworkConfig(channels=4, cells=3, image_size=8)


def test_its_name() -> None:
    assert space_target(SPACES["darts"], SIZE).name == "3 cells, 4 channels"
    one = SIZE.model_copy(update={"cells": 1})
    assert space_target(SPACES["nasbench201"], one).name == "1 cell a stage, 4 channels"
