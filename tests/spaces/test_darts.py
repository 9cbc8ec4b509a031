"""DARTS's cells and genotypes, for both spaces that have them."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from nasp.errors import UsageError
from nasp.spaces import NetworkConfig
from nasp.spaces.cell import Cell, Sum, auxiliary_head, edge_name, reductions
from nasp.spaces.darts import DARTS, CellSpace
from nasp.spaces.nasp12 import NASP12
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Supernet

DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)


@st.composite
def architectures(draw: st.DrawFn, space: CellSpace) -> Architecture:
    edges: dict[str, str | None] = {}
    for kind, table in (("normal", space.normal), ("reduce", space.reduce)):
        for node in range(4):
            kept = draw(st.sets(st.integers(0, node + 1), min_size=2, max_size=2))
            for source in range(node + 2):
                name = draw(st.sampled_from(list(table))) if source in kept else None
                edges[edge_name(kind, node, source)] = name
    return Architecture(edges, space.name)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_candidates_and_their_order() -> None:
    assert list(DARTS.normal) == list(DARTS.reduce)
    assert list(DARTS.normal) == [
        *["max_pool_3x3", "avg_pool_3x3", "skip_connect", "sep_conv_3x3", "sep_conv_5x5"],
        *["dil_conv_3x3", "dil_conv_5x5"],
    ]
    assert len(NASP12.normal) == 8
    assert len(NASP12.reduce) == 5
    assert len(NASP12.normal.keys() | NASP12.reduce.keys()) == 12


@pytest.mark.parametrize(
    ("config", "count"),
    [
        (NetworkConfig(channels=36, cells=20), 3_349_342),
        (NetworkConfig(channels=36, cells=20, drop_path=True), 3_349_342),
        (
            NetworkConfig(channels=48, cells=14, classes=1000, image_size=224, stem="imagenet"),
            4_718_752,
        ),
    ],
)
def test_darts_v2_has_the_published_size(config: NetworkConfig, count: int) -> None:
    with torch.device("meta"):
        assert parameters(DARTS.network(DARTS.parse(DARTS_V2), config)) == count


def test_edges_are_numbered_as_in_darts() -> None:
    numbered = [edge_name("normal", node, i) for node in range(4) for i in range(node + 2)]
    assert numbered == [f"normal/{i}" for i in range(14)]
    assert set(DARTS.parse(DARTS_V2).edges) == {
        f"{kind}/{i}" for kind in ("normal", "reduce") for i in range(14)
    }


@pytest.mark.parametrize(
    ("cells", "expected"), [(2, {1}), (3, {1, 2}), (4, {1, 2}), (8, {2, 5}), (20, {6, 13})]
)
def test_reduction_cells(cells: int, expected: set[int]) -> None:
    assert reductions(cells) == expected


def test_a_derived_cell_sums_and_concatenates() -> None:
    def node(kind: str, index: int, channels: int) -> tuple[nn.Module, list[int]]:
        return Sum([nn.Identity(), nn.Identity()]), [0, index + 1]

    cell = Cell("normal", (3, 3), 3, False, True, node)
    cell.preprocess0, cell.preprocess1 = nn.Identity(), nn.Identity()
    x0, x1 = torch.randn(1, 3, 2, 2), torch.randn(1, 3, 2, 2)
    expected = torch.cat([x1 + i * x0 for i in range(1, 5)], dim=1)
    assert torch.allclose(cell(x0, x1), expected)


@pytest.mark.parametrize("space", [DARTS, NASP12], ids=lambda space: space.name)
def test_one_cell_is_too_few(space: CellSpace) -> None:
    with pytest.raises(UsageError, match="cells=1 is too few"):
        space.supernet(NetworkConfig(cells=1))


def test_the_imagenet_stem_needs_two_channels() -> None:
    with pytest.raises(UsageError, match="channels=1 is too few"):
        DARTS.supernet(NetworkConfig(channels=1, stem="imagenet"))


@pytest.mark.parametrize(
    ("config", "pool"),
    [
        (NetworkConfig(cells=20), nn.AvgPool2d),
        (NetworkConfig(cells=14, image_size=224, stem="imagenet"), nn.AvgPool2d),
        (NetworkConfig(cells=3, image_size=8), nn.AdaptiveAvgPool2d),
    ],
)
def test_auxiliary_head_pools_as_darts(config: NetworkConfig, pool: type[nn.Module]) -> None:
    where, head = auxiliary_head(config)
    assert where == f"cells.{2 * config.cells // 3}"
    assert isinstance(head[1], pool)


def test_imagenet_network_at_full_resolution() -> None:
    config = NetworkConfig(channels=4, cells=3, image_size=224, classes=7, stem="imagenet")
    network = DARTS.network(DARTS.parse(DARTS_V2), config).eval()
    taps: list[torch.Size] = []
    network.cells[-1].register_forward_hook(lambda *call: taps.append(call[2].shape))
    with torch.no_grad():
        assert network(torch.randn(1, 3, 224, 224)).shape == (1, 7)
    assert taps == [(1, 4 * 16, 7, 7)]


@settings(max_examples=25, deadline=None)
@given(architectures(DARTS))
def test_darts_notation_round_trip(architecture: Architecture) -> None:
    assert DARTS.parse(DARTS.notation(architecture)) == architecture


@settings(max_examples=25, deadline=None)
@given(architectures(NASP12))
def test_nasp12_notation_round_trip(architecture: Architecture) -> None:
    assert NASP12.parse("BEST = " + NASP12.notation(architecture)) == architecture


@settings(max_examples=3, deadline=None)
@given(architectures(NASP12))
def test_every_architecture_gives_a_network_with_its_edges(architecture: Architecture) -> None:
    config = NetworkConfig(channels=2, cells=2, image_size=8, in_channels=1)
    network = NASP12.network(architecture, config)
    assert network(torch.randn(2, 1, 8, 8)).shape == (2, 10)
    assert sum(len(m.edges) for m in network.modules() if isinstance(m, Sum)) == 16


def test_the_supernet_accepts_a_parsed_genotype() -> None:
    supernet = Supernet(DARTS.supernet(NetworkConfig(channels=2, cells=2)), "darts")
    architecture = DARTS.parse(DARTS_V2)
    assert supernet.architecture(supernet.path(architecture)) == architecture


def test_notation_writes_the_edges_in_order() -> None:
    text = DARTS.notation(DARTS.parse(DARTS_V2))
    assert text.startswith("Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ")
    assert "('dil_conv_3x3', 2)], normal_concat=range(2, 6), reduce=[('max_pool_3x3', 0)" in text


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("('dil_conv_3x3', 2)", "('conv_9x9', 2)", "'conv_9x9': choose one of"),
        ("('dil_conv_3x3', 2)", "('dil_conv_3x3', 5)", "normal node 3 needs 2 different inputs"),
        ("('dil_conv_3x3', 2)", "('dil_conv_3x3', 0)", "out of 0 to 4, not 0 and 0"),
        ("('dil_conv_3x3', 2)", "('dil_conv_3x3', -1)", "normal node 3 needs"),
        ("('dil_conv_3x3', 2)", "('dil_conv_3x3', '2')", "normal must be a list of 8 pairs"),
        (", ('dil_conv_3x3', 2)", "", "normal must be a list of 8 pairs"),
        ("normal_concat=[2, 3, 4, 5]", "normal_concat=range(3, 6)", "normal_concat must be range"),
        ("reduce_concat=[2, 3, 4, 5]", "reduce_concat=range(2, 10**9)", "no genotype"),
        ("reduce_concat=[2, 3, 4, 5]", "reduce_concat=print('x')", "no genotype"),
        ("reduce_concat=", "normal_concat=", "no genotype"),
        ("reduce_concat=", "more=[], reduce_concat=", "no genotype"),
        ("Genotype(", "Genotype(1, ", "no genotype"),
        ("Genotype(", "import os; Genotype(", "no genotype"),
    ],
)
def test_bad_genotypes(old: str, new: str, message: str) -> None:
    text = DARTS_V2.replace(old, new)
    assert text != DARTS_V2
    with pytest.raises(UsageError, match=message) as raised:
        DARTS.parse(text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("edge", "name"), [("normal/0", None), ("normal/13", "skip_connect")])
def test_a_node_keeps_exactly_two_edges(edge: str, name: str | None) -> None:
    edges = {**DARTS.parse(DARTS_V2).edges, edge: name}
    with pytest.raises(UsageError, match=r"edges at normal node \d: exactly 2 must survive there"):
        DARTS.network(Architecture(edges, "darts"), NetworkConfig())
