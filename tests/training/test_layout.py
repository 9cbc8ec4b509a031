"""Where torch itself is wrong, nobody is let in without a word."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nasp.errors import UsageError
from nasp.training import layout
from nasp.training.layout import check_layout

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
