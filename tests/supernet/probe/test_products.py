"""Inner products of many edges: side by side as alone, in every type and on every device."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from nasp.spaces import NetworkConfig, find_space, spaces_of
from nasp.supernet.path import Path
from nasp.supernet.probe import products
from nasp.supernet.probe.features import channel_products
from nasp.supernet.supernet import Supernet
from nasp.testing.sizes import fitting

SIZE = NetworkConfig(channels=4, cells=3, image_size=16)


def found(supernet: Supernet, path: Path, x: Tensor, fused: bool = True) -> dict[str, Tensor]:
    """Alphas' gradients and buffers after the pass of an A step."""
    again = copy.deepcopy(supernet)
    probe = again.probe(path, fused, fixed_weights=True)
    again(x).float().square().sum().backward(inputs=probe.anchors)
    return {**probe.gradients(), **dict(again.named_buffers())}


@pytest.mark.parametrize("name", spaces_of("images"))
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_side_by_side_as_alone(
    name: str, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    space = find_space(name)
    supernet = (
        Supernet(space.supernet(fitting(space, SIZE)), name).double().to(memory_format=layout)
    )
    path = supernet.random_path(torch.Generator().manual_seed(1))
    x = torch.randn(3, 3, 16, 16, dtype=torch.float64)
    alone = found(supernet, path, x)
    monkeypatch.setattr(products, "at_once", lambda _device: 5)
    together = found(supernet, path, x)
    for key, value in alone.items():
        torch.testing.assert_close(together[key], value, rtol=1e-9, atol=1e-9, msg=key)


@pytest.mark.parametrize("most", [1, 5])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_bfloat16_is_as_near_to_the_reference_as_its_rounding(
    most: int, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(products, "at_once", lambda _device: most)
    supernet = Supernet(find_space("darts").supernet(SIZE), "darts").to(memory_format=layout)
    path = supernet.random_path(torch.Generator().manual_seed(1))
    x = torch.randn(8, 3, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        fused, reference = (found(supernet, path, x, fused) for fused in (True, False))
    exact = found(supernet, path, x)
    for table in supernet.tables:
        scale = exact[table].abs().max()
        # Three significant digits a value, summed over thousands: 2 % of the largest product.
        torch.testing.assert_close(
            fused[table] / scale, reference[table] / scale, rtol=0, atol=0.02
        )


def test_a_pass_on_meta_takes_the_way_of_a_gpu_and_reads_no_value() -> None:
    supernet = Supernet(find_space("darts").supernet(SIZE), "darts").to("meta")
    probe = supernet.probe(supernet.random_path(), fixed_weights=True)
    x = torch.randn(2, 3, 16, 16, device="meta")
    supernet(x).square().sum().backward(inputs=probe.anchors)
    places, values = probe.take()
    assert products.at_once(values.device) > 1
    assert values.shape == (len(places),)
    assert values.is_meta


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_channel_products(device: str, layout: torch.memory_format) -> None:
    left, right = torch.randn(2, 3, 5, 4, 6, dtype=torch.float64)
    on_device = [t.to(device).contiguous(memory_format=layout) for t in (left, right)]
    value = channel_products(*on_device)
    assert value.shape == (5,)
    if device != "meta":
        torch.testing.assert_close(value.cpu(), (left * right).sum(dim=(0, 2, 3)))
