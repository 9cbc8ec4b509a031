"""How networks lie on a GPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nasp.errors import UsageError
from nasp.training import layout
from nasp.training.layout import check_layout

pytestmark = pytest.mark.cuda


def test_padded_average_pooling_is_refused_or_right() -> None:
    cuda = torch.device("cuda")
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AvgPool2d(3, 1, 1))
    network.to(memory_format=torch.channels_last)
    if layout._pools_wrongly(cuda):
        with pytest.raises(UsageError, match="wrong gradients"):
            check_layout(network, cuda)
    else:
        check_layout(network, cuda)
