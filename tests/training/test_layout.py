"""Where torch itself is wrong, nobody is let in without a word."""

from __future__ import annotations

import inspect

import pytest
import torch
from torch import nn

from nasp.errors import UsageError
from nasp.spaces.operations import FactorizedReduce
from nasp.training import layout
from nasp.training.layout import check_layout, fast_layout, laid_out
from tests.forks import Server

CPU = torch.device("cpu")
CUDA = torch.device("cuda")


def pooling(padding: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.AvgPool2d(3, 1, padding))


def test_a_torch_that_pools_rightly_is_taken_as_it_is() -> None:
    assert not layout._pools_wrongly(torch.device("cpu"))
    check_layout(pooling(1).to(memory_format=torch.channels_last), torch.device("cpu"))


def test_padded_average_pooling_channels_last_is_refused_where_it_is_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(layout, "_pools_wrongly", lambda _: True)
    with pytest.raises(UsageError, match="contiguous_format"):
        check_layout(pooling(1).to(memory_format=torch.channels_last), CUDA)
    check_layout(pooling(1), CUDA)
    check_layout(pooling(0).to(memory_format=torch.channels_last), CUDA)


def reducing(channels: int) -> nn.Module:
    """Return a network with a convolution that oneDNN computes wrongly where channels are few."""
    stem = nn.Conv2d(3, channels, 3, padding=1)
    return nn.Sequential(stem, FactorizedReduce(channels, 8), nn.AdaptiveAvgPool2d(1))


def test_few_channels_and_a_stride_keep_the_layout_in_which_onednn_is_right() -> None:
    for channels, layout_ in ((8, torch.contiguous_format), (16, torch.channels_last)):
        network = laid_out(reducing(channels), CPU)
        assert fast_layout(CPU, network) == layout_
        assert next(network.parameters()).is_contiguous(memory_format=layout_)
        check_layout(network, CPU)
    with pytest.raises(UsageError, match="contiguous_format"):
        check_layout(reducing(8).to(memory_format=torch.channels_last), CPU)
    depthwise = nn.Conv2d(8, 8, 1, stride=2, groups=8)
    assert fast_layout(CPU, nn.Sequential(depthwise, nn.Conv2d(8, 8, 1))) == torch.channels_last


def test_its_backward_pass_crashes_no_process(server: Server) -> None:
    calls = """
network = laid_out(reducing(8), torch.device("cpu"))
for _ in range(3):
    network(torch.randn(16, 3, 64, 64)).sum().backward()
"""
    names = """
import torch
from torch import nn
from nasp.spaces.operations import FactorizedReduce
from nasp.training.layout import laid_out
"""
    child = server.run([], names + inspect.getsource(reducing) + calls)
    assert child.code == 0, child.err
