"""The networks that are measured: their candidates, and the one path of all rows."""

from __future__ import annotations

import pytest
import torch

from nasp.bench.steps.networks import make_supernet, random_path
from nasp.bench.steps.rows import FLOOR, FLOOR_CAPTURED, make_iteration, row_names, rows_of
from nasp.bench.steps.settings import BenchSettings
from nasp.errors import UsageError
from nasp.strategies import STRATEGIES
from nasp.supernet.choice import Choice
from nasp.supernet.supernet import Supernet

TINY = BenchSettings(space="nasbench201", channels=4, cells=1, batch=2, image_size=8)
TEXT = BenchSettings(space="recurrent", channels=4, cells=1, batch=2, bptt=3, vocabulary=5)
CELLS = BenchSettings(channels=4, cells=2, batch=2, image_size=8, device="cpu")
BY_SIZE = ["nor_conv_3x3", "nor_conv_1x1", "none", "skip_connect", "avg_pool_3x3"]


def candidates(supernet: Supernet) -> list[str]:
    (table,) = supernet.tables.values()
    return list(table.candidates)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, BY_SIZE[:1]),
        (2, BY_SIZE[:2]),
        (5, BY_SIZE),
        (7, [*BY_SIZE, *(f"{n}-2" for n in BY_SIZE[:2])]),
    ],
)
def test_candidates_are_limited_and_repeated(count: int, expected: list[str]) -> None:
    supernet = make_supernet(TINY.model_copy(update={"candidates": count}))
    assert candidates(supernet) == expected
    assert supernet(torch.randn(2, 3, 8, 8)).shape == (2, 10)


def test_repeated_candidates_have_weights_of_their_own() -> None:
    supernet = make_supernet(TINY.model_copy(update={"candidates": 11}))
    edge = next(m for m in supernet.modules() if isinstance(m, Choice))
    weights = [next(edge.candidates[f"nor_conv_3x3{end}"].parameters()) for end in ("", "-2", "-3")]
    assert len({id(w) for w in weights}) == 3
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


def test_few_candidates_of_the_darts_space_are_convolutions_in_both_kinds_of_cell() -> None:
    supernet = make_supernet(CELLS.model_copy(update={"candidates": 2}))
    assert {name: table.candidates for name, table in supernet.tables.items()} == {
        "normal": ("sep_conv_5x5", "dil_conv_5x5"),
        "reduce": ("sep_conv_5x5", "sep_conv_3x3"),
    }
    assert len(supernet.groups) == 8


def test_without_a_number_the_spaces_own_candidates_stand() -> None:
    assert candidates(make_supernet(TINY)) == [
        "none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"
    ]  # fmt: skip


def test_the_path_is_the_seeds_and_stays_when_candidates_are_added() -> None:
    paths = []
    for count in (2, 4, 9):
        settings = CELLS.model_copy(update={"candidates": count, "path_candidates": 2})
        supernet = make_supernet(settings)
        paths.append(supernet.architecture(random_path(supernet, settings)))
    assert paths[0] == paths[1] == paths[2]
    chosen = set(paths[0].edges.values()) - {None}
    assert chosen <= {"sep_conv_5x5", "dil_conv_5x5", "sep_conv_3x3"}
    assert len(chosen) > 1


def test_alphas_lead_to_the_path() -> None:
    supernet = make_supernet(CELLS)
    alphas = {name: a.detach() for name, a in supernet.alphas.items()}
    assert supernet.discretise(alphas) == random_path(supernet, CELLS)


def test_every_strategy_is_a_row() -> None:
    ours = ["nasp", "nasp-unfused", "nasp-plain", "nasp-uniform"]
    assert row_names()[:6] == [FLOOR, FLOOR_CAPTURED, *ours]
    iterative = {name for name, registration in STRATEGIES.items() if registration.iterative}
    assert iterative <= set(row_names())
    assert not (set(STRATEGIES) - iterative) & set(row_names())


@pytest.mark.parametrize("settings", [TINY, TEXT], ids=["images", "text"])
@pytest.mark.parametrize("row", rows_of(CELLS))
def test_every_row_runs_the_same_path(row: str, settings: BenchSettings) -> None:
    iteration = make_iteration(row, settings)
    supernet = make_supernet(settings)
    assert iteration.architecture == supernet.architecture(random_path(supernet, settings)).edges
    for _ in range(2):
        iteration.arch_step()
        iteration.weight_step()


def test_unknown_rows_and_spaces_are_refused() -> None:
    with pytest.raises(UsageError, match="Unknown row 'nsap': choose one of"):
        make_iteration("nsap", TINY)
    with pytest.raises(UsageError, match="Unknown search space"):
        make_iteration(FLOOR, TINY.model_copy(update={"space": "mars"}))


def test_candidates_of_a_recurrent_cell_are_limited_and_none_still_never_survives() -> None:
    supernet = make_supernet(TEXT.model_copy(update={"candidates": 2}))
    assert candidates(supernet) == ["none", "tanh"]
    assert supernet.tables["recurrent"].surviving == [1]
