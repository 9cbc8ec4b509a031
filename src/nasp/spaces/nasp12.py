"""NASP's space of 12 operations: DARTS's network, other candidates in each kind of cell.

Source: Yao, Xu, Tu, Zhu, "Efficient Neural Architecture Search via Proximal Iterations", AAAI
2020, section on CIFAR-10, the larger of its two spaces.
"""

from __future__ import annotations

from nasp.spaces.darts import CellSpace
from nasp.spaces.operations import pick

NASP12 = CellSpace(
    "nasp12",
    normal=pick(
        [
            "skip_connect",
            "conv_3x1_1x3",
            "dil_conv_3x3",
            "conv_1x1",
            "conv_3x3",
            "sep_conv_3x3",
            "sep_conv_5x5",
            "sep_conv_7x7",
        ]
    ),
    reduce=pick(["skip_connect", "avg_pool_3x3", "max_pool_3x3", "max_pool_5x5", "max_pool_7x7"]),
)
"""The space of 12 operations: 8 in normal cells, 5 in reduction cells, one of them in both."""
