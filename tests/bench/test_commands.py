"""``nasp bench cost`` and ``nasp bench scale`` as a user runs them; no figure is asserted."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from nasp.bench.plots import check_plot
from nasp.bench.steps.rounds import Repetition
from nasp.bench.steps.scale import SERIES, measure_scale
from nasp.bench.steps.scale_plot import AXES, draw_scale, scale_bands
from nasp.bench.steps.settings import BenchSettings
from nasp.cli import main
from nasp.errors import UsageError
from nasp.training.events import nobody
from tests.forks import Server

SMALL = "--space nasbench201 --channels 4 --cells 1 --batch 2 --image-size 8 --threads 1"


def bench(
    arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[str, str]:
    """Run the command in this process and return what it printed on either stream."""
    monkeypatch.setattr(sys, "argv", ["nasp", "bench", *arguments.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert not ended.value.code, said.err
    return said.out, said.err


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")  # a process each is what the test below is about
def test_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = ["floor", "nasp", "nasp-plain", "darts"]
    measured = f"{SMALL} --rows {','.join(rows)} --repeats 5 --rounds 1 --json out/cost.json"
    out, err = bench(f"cost {measured}", monkeypatch, capsys)
    report = json.loads((tmp_path / "out" / "cost.json").read_text())
    assert set(report) >= {"rows", "machine", "settings"}
    assert report["failed"] == []
    assert [row["name"] for row in report["rows"]] == rows
    by_name = {row["name"]: row for row in report["rows"]}
    for name, row in by_name.items():
        seconds = row["seconds"]
        assert 0 < seconds["min"] <= seconds["median"] <= seconds["max"]
        assert len(row["samples"]) == 5
        assert row["peak_bytes"] >= 0
        for other in ("nasp", "floor"):
            expected = seconds["median"] / by_name[other]["seconds"]["median"]
            assert row[f"ratio_to_{other}"] == pytest.approx(expected)
        assert name in out
    flops = [by_name[name]["flops"] for name in rows]
    assert flops[0] < min(flops[1], flops[2])
    assert max(flops[1], flops[2]) < flops[3]
    assert report["settings"]["space"] == "nasbench201"
    assert report["settings"]["repeats"] == 5
    assert len(report["architecture"]) == 6
    assert "4/4  darts, round 1  ETA" in err
    assert "round" not in out.partition("Medians")[0]


@pytest.mark.slow
def test_ctrl_c_ends_with_one_sentence_and_the_same_command_goes_on(
    server: Server,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "cost.json"
    command = f"cost {SMALL} --rows floor --repeats 5 --rounds 2 --json cost.json"
    child = server.start(["bench", *command.split()], cwd=tmp_path)
    begun = time.monotonic()
    while not path.exists():
        assert time.monotonic() < begun + 120, child.err
        time.sleep(0.05)
    assert child.kill(signal.SIGINT) == 1
    *progress, last = child.err.splitlines()
    assert all(line[1:4] == "/2 " for line in progress)
    assert last == ("nasp: Stopped with 1 measurement to go: the same command goes on (cost.json).")
    monkeypatch.chdir(tmp_path)
    asked = request.getfixturevalue("in_this_process")  # the first had a process of its own
    _, err = bench(command, monkeypatch, capsys)
    assert [work.fresh for work in asked] == [True]
    assert err.startswith("2/2  floor, round 2")
    report = json.loads(path.read_text())
    assert len(report["rows"][0]["samples"]) == 5
    assert report["machine"]["threads"] == 1


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    out, _ = bench(
        f"scale {SMALL} --series candidates=2,7 --series batch=2,3 --rows nasp,floor"
        " --repeats 5 --rounds 1 --json scale.json --plot plot.png",
        monkeypatch,
        capsys,
    )
    report = json.loads((tmp_path / "scale.json").read_text())
    points = report["points"]
    assert [(p["series"], p["value"], p["name"]) for p in points] == [
        ("candidates", 2, "nasp"), ("candidates", 2, "floor"),
        ("candidates", 7, "nasp"), ("candidates", 7, "floor"),
        ("batch", 2, "nasp"), ("batch", 2, "floor"),
        ("batch", 3, "nasp"), ("batch", 3, "floor"),
    ]  # fmt: skip
    flops = [p["flops"] for p in points]
    assert flops[0] < flops[2]
    assert flops[1] == flops[3], "more candidates must not change the path"
    assert flops[5] < flops[7]
    assert all(set(AXES) <= set(point) for point in points)
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert "candidates=7" in out


def point(series: str, value: int, name: str, second: float) -> dict[str, Any]:
    seconds = {"median": second, "min": second - 0.5, "max": second + 0.5}
    return {
        "series": series, "value": value, "name": name, "arch_seconds": seconds,
        "weight_seconds": seconds, "peak_bytes": 2_000_000,
    }  # fmt: skip


REPORT = {
    "points": [
        point("cells", 5, "nasp", 2.0),
        point("cells", 3, "nasp", 1.0),
        point("batch", 8, "nasp", 4.0),
        point("batch", 8, "darts", 9.0),
    ]
}


def test_bands_are_computed_before_they_are_drawn() -> None:
    found = {
        key: {band.label: band for band in bands} for key, bands in scale_bands(REPORT).items()
    }
    arch = found["cells", "arch_seconds"]["nasp"]
    assert (arch.x, arch.middle, arch.low, arch.high) == (
        [3, 5], [1.0, 2.0], [0.5, 1.5], [1.5, 2.5]
    )  # fmt: skip
    assert found["batch", "peak_bytes"]["darts"].middle == [2.0]
    assert list(found["cells", "arch_seconds"]) == ["nasp"]


@pytest.mark.parametrize(("ending", "start"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_bands_are_drawn(ending: str, start: bytes, tmp_path: Path) -> None:
    path = tmp_path / "new" / f"plot.{ending}"
    draw_scale(REPORT, "title", path)
    assert path.read_bytes().startswith(start)


def test_series_and_plots_that_cannot_be_are_refused_before_the_measurement() -> None:
    def scale(series: dict[str, list[int]]) -> None:
        measure_scale(BenchSettings(), series, ["nasp"], Repetition(), None, nobody)

    with pytest.raises(UsageError, match=r"Unknown series 'depth': choose one of batch, cand"):
        scale({"depth": [1]})
    with pytest.raises(UsageError, match="'batch' of the series"):
        scale({"batch": [0]})
    with pytest.raises(UsageError, match="nothing to measure"):
        scale({})
    with pytest.raises(UsageError, match=r"plot\.gif: end it in \.pdf, \.png, \.svg"):
        check_plot(Path("plot.gif"))
    assert set(SERIES) == {"candidates", "cells", "channels", "batch"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("cost --rows nsap", "Unknown row 'nsap'"),
        ("cost --space mars --rows floor --repeats 5", "Unknown search space 'mars'"),
        ("cost --dtype float8", "Setting 'dtype' of the measurement"),
        ("scale --series candidates=two", "--series takes NAME=N,N,..."),
    ],
)
def test_mistakes_end_in_one_sentence(
    arguments: str,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["nasp", "bench", *arguments.split()])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 2
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert message in said[0]


def test_a_gpus_work_has_a_table_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    from nasp.cli.bench import _show_cost

    work = {
        "kernels": 12_004,
        "graphs": 1,
        "busy_seconds": 0.0431,
        "synchronisations": 2,
        "copies_to_host": 3,
        "copies_to_device": 4,
        "peak_bytes": 750e6,
    }
    spread = {"median": 0.0407, "min": 0.04, "max": 0.05}
    row = {
        "name": "nasp",
        **dict.fromkeys(("seconds", "arch_seconds", "weight_seconds"), spread),
        **dict.fromkeys(("ratio_to_nasp", "ratio_to_floor", "memory_ratio_to_floor"), 1.0),
        "peak_bytes": 950e6,
        "held_bytes": 123e6,
        "flops": None,
        "arch_work": work,
        "weight_work": None,
    }
    _show_cost({"rows": [row], "machine": None, "settings": {}})
    said = capsys.readouterr().out
    line = next(line for line in said.splitlines() if "arch" in line)
    assert line.split() == ["nasp", "arch", "40.7", "43.1", "12,004", "1", "2", "3", "4", "750"]
    assert "weight" not in said
    assert "123" in said
