"""``nasp bench fidelity``: rank correlations, rows, and real supernets."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasp.bench.contests import contest
from nasp.bench.contests.contest import Contest
from nasp.bench.contests.contestant import contestants_of
from nasp.bench.contests.fidelity import (
    agreement,
    drawn_cells,
    kendall,
    measure_fidelity,
    parameters,
)
from nasp.bench.contests.plots import draw_fidelity, fidelity_cells
from nasp.bench.contests.search import SearchRequest, SearchSample, run_search
from nasp.bench.contests.settings import Budget, ContestSettings
from nasp.bench.contests.stopwatch import Phase, Seconds
from nasp.bench.tables.accuracies import embedded
from nasp.cli import main
from nasp.cli.bench_fidelity import _chance
from nasp.errors import UsageError
from nasp.runs.pool import InTurn
from nasp.training.events import nobody

TABLE = embedded("digits")
TINY = ContestSettings(
    data={"name": "digits", "subset": 48, "batch_size": 16},
    space="nasbench201-3",
    channels=2,
    cells=1,
    budget=Budget(epochs=1),
    threads=1,
    device="cpu",
)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=12))
def test_kendall_is_the_count_of_pairs(points: list[tuple[int, int]]) -> None:
    first, second = [float(a) for a, _ in points], [float(b) for _, b in points]
    pairs = [(i, j) for i in range(len(points)) for j in range(i)]
    signs = [
        ((first[i] > first[j]) - (first[i] < first[j]))
        * ((second[i] > second[j]) - (second[i] < second[j]))
        for i, j in pairs
    ]
    untied = [sum(v[i] != v[j] for i, j in pairs) for v in (first, second)]
    if 0 in untied:
        assert kendall(first, second) == (0.0, 1.0)
    else:
        expected = sum(signs) / (untied[0] * untied[1]) ** 0.5
        assert kendall(first, second)[0] == pytest.approx(expected, abs=1e-6)


def test_p_of_few_cells_is_the_share_of_orders() -> None:
    # Of the 24 orders of four values 1 has no pair turned round, 3 have one, and as many again have
    # all but none or one.
    assert kendall([0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 3.0, 2.0])[1] == pytest.approx(2 * (1 + 3) / 24)


def test_p_of_many_cells_is_that_of_the_normal_approximation() -> None:
    # Without ties the variance of concordant less discordant pairs is n (n - 1) (2 n + 5) / 18.
    turned = [0, 2, 1, 3, 7, 4, 5, 6, 11, 8, 9, 10]
    first = [float(a) for a in range(48)]
    second = [float(12 * block + a) for block in (3, 1, 0, 2) for a in turned]
    pairs = [(i, j) for i in range(48) for j in range(i)]
    concordant = sum((second[i] > second[j]) - (second[i] < second[j]) for i, j in pairs)
    tau, p = kendall(first, second)
    assert tau == pytest.approx(concordant / len(pairs))
    deviations = abs(concordant) / math.sqrt(48 * 47 * 101 / 18)
    assert p == pytest.approx(math.erfc(deviations / math.sqrt(2)), rel=1e-9)


def test_agreement() -> None:
    table = [10.0, 50.0, 90.0, 91.0, 92.0, 93.0]
    sizes = [1.0, 2.0, 2.0, 3.0, 3.0, 3.0]
    perfect = agreement([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], table, sizes)
    assert (perfect.kendall, perfect.kendall_upper) == pytest.approx((1.0, 1.0))
    assert perfect.picked == 93.0
    # Right about the bad ones alone: the upper half is upside down.
    coarse = agreement([None, 0.2, 0.6, 0.5, 0.4, 0.3], table, sizes)
    # Of four pairs of one size, the one of 2.0 is in order and the three of 3.0 are not.
    assert (perfect.kendall_alike, coarse.kendall_alike) == (1.0, (1 - 3) / 4)
    assert coarse.kendall == pytest.approx((9 - 6) / 15)
    assert coarse.kendall_upper == pytest.approx(-1.0)
    assert coarse.picked == 90.0


def test_parameters_of_cells() -> None:
    cells = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3"]
    sizes = parameters("nasbench201-3", [f"|{c}~0|+|none~0|avg_pool_3x3~1|" for c in cells])
    none, skip, one, three = (size - sizes[0] for size in sizes)
    assert none == skip == 0
    assert three == 9 * one == 9 * (4 * 4 + 8 * 8 + 16 * 16)


def test_cells_are_drawn_once_for_all() -> None:
    few, many = drawn_cells(TABLE, 20), drawn_cells(TABLE, 60)
    assert len(set(few)) == 20
    assert many[:20] == few != sorted(few)
    assert sorted(drawn_cells(TABLE, 1000)) == sorted(TABLE.accuracies)


def test_a_supernet_is_asked() -> None:
    (contestant,) = contestants_of(["random-sharing"], [])
    cells = tuple(drawn_cells(TABLE, 10))
    request = SearchRequest(job=TINY.job(contestant, 0, 2), cells=cells)
    found, again = run_search(request), run_search(request)
    assert found.shared == again.shared
    assert len(found.shared) == 10
    assert len(set(found.shared)) > 2
    assert all(accuracy is not None and 0 <= accuracy <= 1 for accuracy in found.shared)
    assert len(found.scored) == 10
    on_one_batch = run_search(request.model_copy(update={"batches": 1}))
    assert all_of_sixteen(on_one_batch)
    assert not all_of_sixteen(found)


def all_of_sixteen(sample: SearchSample) -> bool:
    """Tell whether each accuracy can be that of 16 images, the size of a batch."""
    return all(accuracy is not None and 16 * accuracy % 1 == 0 for accuracy in sample.shared)


class Process:
    """Instead of fresh processes: a supernet that knows all, or that knows nothing."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, str]] = []

    def __call__(self, request: SearchRequest, _: object) -> SearchSample:
        search = request.job.search
        assert request.batches == 7
        self.asked.append((search.strategy, search.seed, search.select))
        sign = 1 if search.strategy == "nasp" else -1
        two, three = Seconds(wall=2.0, cpu=1.0), Seconds(wall=3.0, cpu=1.5)
        return SearchSample(
            architecture={},
            derived=[],
            total=two,
            phases=[Phase(name="re-ranking", begun=two, ends=[three])],
            steps_per_epoch=4,
            full_steps_per_epoch=4,
            batches=4,
            full_batches=4,
            peak_bytes=7,
            idle_bytes=5,
            peak_source="VmHWM",
            selection=None,
            shared=[0.5 + sign * TABLE.accuracies[cell] / 200 for cell in request.cells],
            machine={"cpu": "here"},
        )


class Here(InTurn):
    """Runs in this process what needs a fresh one."""

    def run(self, works: Any, *more: Any) -> Any:
        return super().run((replace(work, fresh=False) for work in works), *more)


def measured(
    monkeypatch: pytest.MonkeyPatch, process: Process, path: Path | None, *texts: str
) -> dict[str, Any]:
    monkeypatch.setattr(contest, "run_search", process)
    among = Contest(TINY, contestants_of([], texts), range(2), TABLE)
    return measure_fidelity(among, 30, 7, path, nobody, Here()).report()


def test_rows_grow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "fidelity.json"
    process = Process()
    report = measured(monkeypatch, process, path, "a=nasp select=rerank", "darts")
    assert process.asked == [
        ("nasp", 0, "none"), ("darts", 0, "none"), ("nasp", 1, "none"), ("darts", 1, "none")
    ]  # fmt: skip
    good, bad = report["rows"]
    assert (good["name"], good["strategy"], good["seeds"]) == ("a", "nasp", [0, 1])
    assert (good["kendall"]["mean"], bad["kendall"]["mean"]) == pytest.approx((1.0, -1.0))
    assert good["picked"]["mean"] == max(report["table_accuracy"])
    assert (good["seconds"], good["ranking_seconds"]) == (2.0, 1.0)
    assert len(report["cells"]) == 30
    assert 0 < report["parameters"]["kendall"] < 1
    again = Process()
    report = measured(monkeypatch, again, path, "gdas")
    assert [name for name, *_ in again.asked] == ["gdas", "gdas"]
    assert [row["name"] for row in report["rows"]] == ["a", "darts", "gdas"]
    with pytest.raises(UsageError, match="'a' with other settings"):
        measured(monkeypatch, Process(), path, "a=nasp")
    points = fidelity_cells(report)
    assert [(p.row, p.seed) for p in points][:3] == [("a", 0), ("a", 1), ("darts", 0)]
    assert len(points[0].shared) == len(points[0].table) == 30
    draw_fidelity(report, tmp_path / "f.svg")
    assert (tmp_path / "f.svg").read_bytes().startswith(b"<?xml")


def test_who_trains_no_supernet_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="'random' trains no supernet"):
        measured(monkeypatch, Process(), None, "random")


@pytest.mark.parametrize(("p", "said"), [(0.03179, "0.032"), (1e-5, "1e-05"), (0.0, "< 1e-06")])
def test_a_chance_is_said_no_finer_than_it_is_known(p: float, said: str) -> None:
    assert _chance(p) == said


@pytest.mark.slow
def test_the_command_goes_on_from_its_file(
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    def fidelity_command(more: str) -> tuple[int, str, str]:
        arguments = (
            "nasp bench fidelity --strategies random-sharing --epochs 1 --subset 48 --batch-size 16"
            " --channels 2 --threads 1 --samples 20 --json fidelity.json"
        )
        monkeypatch.setattr(sys, "argv", [*arguments.split(), *more.split()])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    code, out, err = fidelity_command("--seeds 1")
    assert code == 0, err
    assert "over 20 cells of the table embedded digits" in out
    kept = json.loads((tmp_path / "fidelity.json").read_text())
    request.getfixturevalue("in_this_process")  # the first had a process of its own: one is enough
    code, _, err = fidelity_command("--seeds 2 --plot fidelity.png")
    assert code == 0, err
    assert err.splitlines()[0].startswith("2/2  random-sharing, seed 1")
    report = json.loads((tmp_path / "fidelity.json").read_text())
    ((before,), (row,)) = kept["rows"], report["rows"]
    assert (before["seeds"], row["seeds"], row["shared"][0]) == ([0], [0, 1], before["shared"][0])
    for seed, shared in enumerate(row["shared"]):
        expected = agreement(
            shared, report["table_accuracy"], parameters("nasbench201-3", report["cells"])
        )
        assert row["kendall"]["seeds"][seed] == pytest.approx(expected.kendall)
        assert row["p"][seed] == pytest.approx(expected.p)
    assert (tmp_path / "fidelity.png").read_bytes().startswith(b"\x89PNG")
    code, _, err = fidelity_command("--seeds 2 --samples 30")
    assert code == 2
    assert "holds results of other settings (samples 20, not 30)" in err


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        ("--strategies synflow", "'synflow' trains no supernet that could rank cells", 2),
        ("--samples 3", "greater than or equal to 10", 2),
        ("--strategies darst", "Unknown strategy 'darst'", 2),
        ("--plot cells.txt", "cells.txt", 2),
        ("--table no.csv", "Cannot read the table no.csv", 1),
    ],
)
def test_mistakes(
    arguments: str,
    message: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["nasp", "bench", "fidelity", *arguments.split()])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == code
    said = " ".join(capsys.readouterr().err.split())
    assert message in said
    assert "Traceback" not in said
