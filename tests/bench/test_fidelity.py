"""``nasp bench fidelity``: rank correlations, rows, and real supernets."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nasp.bench import fidelity
from nasp.bench.budget import Budget
from nasp.bench.contender import contenders_of
from nasp.bench.fidelity import agreement, drawn_cells, kendall, measure_fidelity
from nasp.bench.fidelity_plot import draw_fidelity, fidelity_points
from nasp.bench.fidelity_run import FidelityRequest, FidelitySample, run
from nasp.bench.quality_settings import QualitySettings
from nasp.bench.truth import embedded
from nasp.cli import main
from nasp.errors import UsageError
from nasp.events import nobody

TRUTH = embedded("digits")
TINY = QualitySettings(
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
        assert kendall(first, second) == 0.0
    else:
        expected = sum(signs) / (untied[0] * untied[1]) ** 0.5
        assert kendall(first, second) == pytest.approx(expected, abs=1e-6)


def test_agreement() -> None:
    table = [10.0, 50.0, 90.0, 91.0, 92.0, 93.0]
    perfect = agreement([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], table)
    assert (perfect.kendall, perfect.kendall_upper, perfect.picked) == (1.0, 1.0, 93.0)
    # Right about the bad ones alone: the upper half is upside down.
    coarse = agreement([None, 0.2, 0.6, 0.5, 0.4, 0.3], table)
    assert coarse.kendall == pytest.approx((9 - 6) / 15)
    assert (coarse.kendall_upper, coarse.picked) == (-1.0, 90.0)


def test_cells_are_drawn_once_for_all() -> None:
    few, many = drawn_cells(TRUTH, 20), drawn_cells(TRUTH, 60)
    assert len(set(few)) == 20
    assert many[:20] == few != sorted(few)
    assert sorted(drawn_cells(TRUTH, 1000)) == sorted(TRUTH.accuracies)


def test_a_supernet_is_asked() -> None:
    (contender,) = contenders_of(["random-sharing"], [])
    request = FidelityRequest(
        job=TINY.job(contender, 0, 2, 0), cells=drawn_cells(TRUTH, 10), threads=1
    )
    found, again = run(request), run(request)
    assert found.shared == again.shared
    assert len(found.shared) == 10
    assert len(set(found.shared)) > 2
    assert all(accuracy is not None and 0 <= accuracy <= 1 for accuracy in found.shared)


class Process:
    """Instead of fresh processes: a supernet that knows all, or that knows nothing."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, str]] = []

    def __call__(self, request: FidelityRequest, interruption: object) -> FidelitySample:
        search = request.job.search
        self.asked.append((search.strategy, search.seed, search.select))
        sign = 1 if search.strategy == "nasp" else -1
        return FidelitySample(
            shared=[0.5 + sign * TRUTH.accuracies[cell] / 200 for cell in request.cells],
            search_seconds=2.0,
            ranking_seconds=1.0,
            machine={"cpu": "here"},
        )


def measured(
    monkeypatch: pytest.MonkeyPatch, process: Process, path: Path | None, *texts: str
) -> dict[str, Any]:
    monkeypatch.setattr(fidelity, "_in_process", process)
    found = contenders_of([], texts)
    return measure_fidelity(TINY, found, range(2), 30, TRUTH, path, nobody).report()


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
    assert good["picked"]["mean"] == max(report["truth"])
    assert len(report["cells"]) == 30
    again = Process()
    report = measured(monkeypatch, again, path, "gdas")
    assert [name for name, *_ in again.asked] == ["gdas", "gdas"]
    assert [row["name"] for row in report["rows"]] == ["a", "darts", "gdas"]
    with pytest.raises(UsageError, match="'a' with other settings"):
        measured(monkeypatch, Process(), path, "a=nasp")
    points = fidelity_points(report)
    assert [(p.row, p.seed) for p in points][:3] == [("a", 0), ("a", 1), ("darts", 0)]
    assert len(points[0].shared) == len(points[0].table) == 30
    draw_fidelity(report, tmp_path / "f.svg")
    assert (tmp_path / "f.svg").read_bytes().startswith(b"<?xml")


def test_who_trains_no_supernet_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="'random' trains no supernet"):
        measured(monkeypatch, Process(), None, "random")


@pytest.mark.slow
def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "fidelity.json"
    arguments = (
        "nasp bench fidelity --strategies random-sharing --seeds 1 --epochs 1 --subset 48"
        f" --batch-size 16 --channels 2 --threads 1 --samples 20 --json {path}"
    )
    monkeypatch.setattr(sys, "argv", arguments.split())
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 0
    (row,) = json.loads(path.read_text())["rows"]
    assert -1 <= row["kendall"]["mean"] <= 1
    assert "over 20 cells of the table embedded digits" in capsys.readouterr().out
