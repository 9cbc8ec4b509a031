"""A chosen candidate that runs as a chain gives what its module gives, and its own product."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from nasp.supernet.probe.candidate import Chain


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("fixed_weights", [False, True])
def test_a_chain_runs_as_its_module(
    layout: torch.memory_format, affine: bool, dtype: torch.dtype, fixed_weights: bool
) -> None:
    torch.manual_seed(0)
    depthwise = nn.Conv2d(48, 48, 3, padding=2, dilation=2, groups=48, bias=False)
    layers = (nn.ReLU(), depthwise, nn.Conv2d(48, 48, 1, bias=False))
    module = nn.Sequential(*layers, nn.BatchNorm2d(48, affine=affine)).to(dtype)
    other = copy.deepcopy(module)
    chain = Chain.of(module)
    assert chain is not None
    x = torch.randn(4, 48, 8, 8, dtype=dtype).to(memory_format=layout).requires_grad_()
    alpha = torch.ones((), dtype=dtype, requires_grad=True)
    twin = x.detach().clone().requires_grad_()
    for _ in range(3):
        output, expected = chain.run(x, alpha, fixed_weights), other(twin)
        torch.testing.assert_close(output, expected)
    g = torch.randn_like(expected)
    (output * g).sum().backward()
    (expected * g).sum().backward()
    torch.testing.assert_close(x.grad, twin.grad)
    assert alpha.grad is not None
    torch.testing.assert_close(alpha.grad, (expected.detach() * g).sum(), rtol=1e-4, atol=1e-3)
    for own, theirs in zip(module.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(own, theirs)
    for own_weight, weight in zip(module.parameters(), other.parameters(), strict=True):
        if not fixed_weights:
            torch.testing.assert_close(own_weight.grad, weight.grad, rtol=1e-4, atol=1e-4)
        elif own_weight.dim() == 4:
            assert own_weight.grad is None
