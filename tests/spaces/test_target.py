"""What the derived networks of a space cost, by the table and by themselves."""

from __future__ import annotations

import pytest
import torch

from nasp.complexity import parameter_count
from nasp.complexity.costs import flops
from nasp.complexity.quantity import find_quantity
from nasp.complexity.store import Store
from nasp.complexity.target import Gauge
from nasp.spaces import SPACES, NetworkConfig
from nasp.spaces.sampling import random_architecture
from nasp.spaces.target import space_target

SIZE = NetworkConfig(channels=4, cells=3, image_size=8)


@pytest.mark.parametrize("name", [n for n, space in SPACES.items() if space.data == "images"])
def test_the_table_is_exact_for_derived_networks(name: str) -> None:
    space = SPACES[name]
    state = torch.get_rng_state()
    target = space_target(space, SIZE)
    gauges = {kind: Gauge(find_quantity(kind), target, Store(None)) for kind in ("params", "flops")}
    tables = {kind: gauge.table(kind) for kind, gauge in gauges.items()}
    assert torch.equal(torch.get_rng_state(), state)
    for seed in range(3):
        architecture = random_architecture(space, seed)
        network = space.network(architecture, SIZE)
        assert tables["params"].of(architecture) == parameter_count(network)
        assert gauges["params"].of(architecture).value == parameter_count(network)
        counted = flops(network, torch.randn(1, 3, 8, 8))
        assert tables["flops"].of(architecture) == counted
        assert gauges["flops"].of(architecture).value == counted


def test_its_name() -> None:
    assert space_target(SPACES["darts"], SIZE).name == "3 cells, 4 channels"
    one = SIZE.model_copy(update={"cells": 1})
    assert space_target(SPACES["nasbench201"], one).name == "1 cell a stage, 4 channels"
