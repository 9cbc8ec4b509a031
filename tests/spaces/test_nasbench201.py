"""The space of NAS-Bench-201 against the benchmark's own parameter counts."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nasp.errors import UsageError
from nasp.spaces import NetworkConfig
from nasp.spaces.nasbench201 import NASBENCH201, NASBENCH201_3, DenseCell, ResidualBlock
from nasp.supernet.architecture import Architecture
from nasp.supernet.choice import Choice

CELL = "|skip_connect~0|+|nor_conv_3x3~0|none~1|+|nor_conv_1x1~0|avg_pool_3x3~1|none~2|"

LETTERS = {
    "0": "none",
    "s": "skip_connect",
    "a": "avg_pool_3x3",
    "1": "nor_conv_1x1",
    "3": "nor_conv_3x3",
}
# From NAS-Bench-201 (N=5, C=16, CIFAR-10): a letter for each edge, in the string's order.
PARAMETERS = {
    "a313a0": 587_386,
    "1ss3aa": 344_346,
    "s10a0s": 101_306,
    "s0aa3s": 316_346,
    "saaa13": 344_346,
    "a03003": 559_386,
    "0031as": 344_346,
    "a3a100": 344_346,
    "11ss31": 400_346,
    "3ss331": 830_426,
    "000000": 73_306,
    "333333": 1_531_546,
}


@pytest.mark.parametrize("letters", PARAMETERS)
def test_parameters_are_the_benchmarks(letters: str) -> None:
    a, b, c, d, e, f = (LETTERS[letter] for letter in letters)
    cell = NASBENCH201.parse(f"|{a}~0|+|{b}~0|{c}~1|+|{d}~0|{e}~1|{f}~2|")
    with torch.device("meta"):
        network = NASBENCH201.network(cell, NetworkConfig(channels=16, cells=5, classes=10))
    assert sum(p.numel() for p in network.parameters()) == PARAMETERS[letters]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(list(NASBENCH201.candidates)), min_size=6, max_size=6))
def test_notation_round_trip(names: list[str]) -> None:
    edges = {f"cell/{i}": name for i, name in enumerate(names)}
    architecture = Architecture(edges, "nasbench201")
    assert NASBENCH201.parse(NASBENCH201.notation(architecture)) == architecture


def test_edges_are_in_the_strings_order() -> None:
    assert list(NASBENCH201.parse(CELL).edges.values()) == [
        *["skip_connect", "nor_conv_3x3", "none", "nor_conv_1x1", "avg_pool_3x3", "none"]
    ]
    assert NASBENCH201.notation(NASBENCH201.parse(f" {CELL}\n")) == CELL


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x


def test_a_cell_sums_its_edges() -> None:
    cell = DenseCell([Times(f) for f in (2.0, 3.0, 5.0, 7.0, 11.0, 13.0)])
    second = 3 + 5 * 2
    assert cell(torch.ones(1)).item() == 7 + 11 * 2 + 13 * second


def test_three_nodes_are_the_first_three() -> None:
    assert (
        DenseCell([Times(f) for f in (2.0, 3.0, 5.0)], nodes=3)(torch.ones(1)).item() == 3 + 5 * 2
    )
    cell = NASBENCH201_3.parse("|nor_conv_3x3~0|+|none~0|skip_connect~1|")
    assert list(cell.edges) == ["cell/0", "cell/1", "cell/2"]
    assert NASBENCH201_3.notation(cell) == "|nor_conv_3x3~0|+|none~0|skip_connect~1|"
    assert [wire[1:3] for wire in NASBENCH201_3.wiring(cell)] == [
        ("input", "node 1"),
        ("node 1", "output"),
    ]
    with pytest.raises(UsageError, match=r"write \|op~0\|\+\|op~0\|op~1\| with"):
        NASBENCH201_3.parse(CELL)


@pytest.mark.parametrize("size", [7, 8])
def test_residual_block_halves(size: int) -> None:
    assert ResidualBlock(2, 4)(torch.randn(2, 2, size, size)).shape == (2, 4, 4, 4)


def test_a_cut_cell_still_gives_logits() -> None:
    cut = NASBENCH201.parse("|none~0|+|none~0|none~1|+|none~0|none~1|none~2|")
    network = NASBENCH201.network(cut, NetworkConfig(channels=2, cells=1))
    assert network(torch.randn(2, 3, 8, 8)).isfinite().all()


def test_candidates_of_every_edge() -> None:
    with torch.device("meta"):
        supernet = NASBENCH201.supernet(NetworkConfig(cells=1))
    choices = [m for m in supernet.modules() if isinstance(m, Choice)]
    names = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
    assert {choice.names for choice in choices} == {names}
    assert [choice.share for choice in choices] == 3 * [f"cell/{i}" for i in range(6)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CELL.replace("~1", "~0"), "no NAS-Bench-201 cell"),
        (CELL[:-1], "no NAS-Bench-201 cell"),
        (CELL + "+|none~0|", "no NAS-Bench-201 cell"),
        (CELL.replace("none~2", "~2"), "no NAS-Bench-201 cell"),
        (CELL.replace("none~2", "sep_conv_3x3~2"), "on edge 'cell/5' .* 'sep_conv_3x3': choose"),
    ],
)
def test_bad_cells(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        NASBENCH201.parse(text)


def test_an_edge_cannot_be_off() -> None:
    edges = {**NASBENCH201.parse(CELL).edges, "cell/2": None}
    with pytest.raises(UsageError, match="lacks the edge 'cell/2'"):
        NASBENCH201.network(Architecture(edges, "nasbench201"), NetworkConfig())
