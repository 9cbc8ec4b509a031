"""Each candidate operation keeps, or halves, the resolution, odd sizes rounded up."""

import pytest
import torch
from torch import nn
from torchvision.ops import StochasticDepth

from nasp.errors import UsageError
from nasp.spaces.operations import OPERATIONS, FactorizedReduce, derived, pick, searched


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("size", [1, 7, 8])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("name", OPERATIONS)
def test_shape(name: str, stride: int, size: int, affine: bool) -> None:
    operation = OPERATIONS[name](4, stride, affine)
    half = -(-size // stride)
    assert operation(torch.randn(2, 4, size, size)).shape == (2, 4, half, half)
    norms = [m for m in operation.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(norm.affine is affine and norm.track_running_stats for norm in norms)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("skip_connect", 0),
        ("conv_1x1", 64 + 16),
        ("conv_3x3", 9 * 64 + 16),
        ("conv_3x1_1x3", 2 * 3 * 64 + 16),
        ("sep_conv_7x7", 2 * (49 * 8 + 64 + 16)),
        ("dil_conv_5x5", 25 * 8 + 64 + 16),
        ("max_pool_7x7", 0),
    ],
)
def test_parameters_of_eight_channels(name: str, parameters: int) -> None:
    assert sum(p.numel() for p in OPERATIONS[name](8, 1, True).parameters()) == parameters


def test_avg_pool_ignores_the_border() -> None:
    ones = torch.ones(1, 2, 5, 5)
    assert torch.equal(OPERATIONS["avg_pool_3x3"](2, 1, True)(ones), ones)


@pytest.mark.parametrize("size", [5, 6])
def test_factorized_reduce_sees_both_diagonals(size: int) -> None:
    reduce = FactorizedReduce(1, 2).eval()
    nn.init.ones_(reduce.even.weight)
    nn.init.ones_(reduce.odd.weight)
    image = torch.arange(1.0, size * size + 1).reshape(1, 1, size, size)
    even, odd = reduce(image)[0] * (1 + reduce.norm.eps) ** 0.5
    assert torch.allclose(even, image[0, 0, ::2, ::2])
    shifted = image[0, 0, 1::2, 1::2]
    assert torch.allclose(odd[: shifted.shape[0], : shifted.shape[1]], shifted)


def test_searched_pools_are_normalised_on_request() -> None:
    table = pick(["max_pool_3x3", "avg_pool_3x3", "skip_connect"])
    with_norm = searched(table, 4, 1, norm_pools=True)
    assert isinstance(with_norm["max_pool_3x3"], nn.Sequential)
    assert not list(with_norm["avg_pool_3x3"].parameters())
    assert isinstance(searched(table, 4, 1, norm_pools=False)["avg_pool_3x3"], nn.AvgPool2d)


def test_drop_path_follows_all_but_the_identity() -> None:
    skip, pool = OPERATIONS["skip_connect"], OPERATIONS["max_pool_3x3"]
    assert isinstance(derived(skip, 4, 1, drop_path=True), nn.Identity)
    assert isinstance(derived(skip, 4, 2, drop_path=True)[1], StochasticDepth)
    dropped = derived(pool, 4, 1, drop_path=True)[1]
    assert (dropped.p, dropped.mode) == (0.0, "row")
    assert isinstance(derived(pool, 4, 1, drop_path=False), nn.MaxPool2d)


def test_pick_names_an_unknown_operation() -> None:
    with pytest.raises(UsageError, match=r"Unknown candidate operation 'conv_9x9': choose one of"):
        pick(["conv_9x9"])
