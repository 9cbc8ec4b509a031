"""Rows take turns in processes of their own; what fails or is stopped loses nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nasp.bench.harness import seconds_left
from nasp.bench.results import Results
from nasp.bench.steps import rounds
from nasp.bench.steps.cost import measure_cost
from nasp.bench.steps.measure import Request, Sample
from nasp.bench.steps.rounds import Repetition, spread
from nasp.bench.steps.settings import BenchSettings
from nasp.errors import NaspError, UsageError
from nasp.runs.interruption import Interrupted
from nasp.runs.pool import Work
from nasp.training.events import Event, Measuring, nobody

TINY = BenchSettings(space="nasbench201", channels=4, cells=1, batch=2, image_size=8)


class Machine:
    """Measures at once, in a time that rises by a second with each request."""

    def __init__(self, name: str = "here") -> None:
        self.asked: list[Request] = []
        self.name = name
        self.broken: dict[int, NaspError] = {}

    def __call__(self, request: Request, _: object) -> Sample:
        self.asked.append(request)
        count = len(self.asked)
        if count in self.broken:
            raise self.broken[count]
        return Sample(
            arch_seconds=[float(count)] * request.repeats,
            weight_seconds=[1.0] * request.repeats,
            peak_bytes=count,
            idle_bytes=7,
            peak_source="VmHWM",
            flops=5 if request.counts else None,
            architecture={},
            machine={"cpu": self.name},
        )


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, in_this_process: list[Work]) -> Machine:
    here = Machine()
    monkeypatch.setattr(rounds, "measure_row", here)
    return here


def cost(
    path: Path | None = None, rows: tuple[str, ...] = ("floor", "nasp"), observe: Any = nobody
) -> Results:
    return measure_cost(TINY, rows, Repetition(repeats=7, rounds=3), path, observe)


def test_rows_take_turns_and_their_samples_are_put_together(
    machine: Machine, in_this_process: list[Work]
) -> None:
    heard: list[Event] = []
    rows = {row["name"]: row for row in cost(observe=heard.append).report()["rows"]}
    said = [event for event in heard if isinstance(event, Measuring)]
    assert [(r.row, r.repeats, r.counts) for r in machine.asked] == [
        ("floor", 3, True), ("nasp", 3, True), ("floor", 2, False),
        ("nasp", 2, False), ("floor", 2, False), ("nasp", 2, False),
    ]  # fmt: skip
    assert all(work.fresh for work in in_this_process)
    assert rows["floor"]["samples"] == [2.0] * 3 + [4.0] * 2 + [6.0] * 2
    assert rows["nasp"]["peak_bytes"] == 6
    assert rows["nasp"]["flops"] == 5
    assert rows["nasp"]["ratio_to_floor"] == 5.0 / 4.0
    assert [(event.done, event.total) for event in said] == [(i, 6) for i in range(6)]
    assert said[0].what == "floor, round 1"
    assert said[0].seconds_left is None
    assert said[5].seconds_left is not None


def test_the_time_left_is_what_the_same_rows_took() -> None:
    took = {"floor, round 1": {"wall_seconds": 2.0}, "nasp, round 1": {"wall_seconds": 6.0}}
    missing = ["darts, round 1", "floor, round 2", "nasp, round 2"]
    assert seconds_left(missing, took) == 4.0 + 2.0 + 6.0


def test_a_row_that_fails_is_told_and_the_others_go_on(machine: Machine, tmp_path: Path) -> None:
    machine.broken = {4: NaspError("No memory.")}  # nasp in its second round
    path = tmp_path / "cost.json"
    results = cost(path)
    assert [r.row for r in machine.asked] == ["floor", "nasp", "floor", "nasp", "floor"]
    with pytest.raises(NaspError, match=r"1 could not be measured \(nasp, round 2: No memory\)"):
        results.raise_failures()
    content = json.loads(path.read_text())
    assert [len(row["samples"]) for row in content["rows"]] == [7, 3]
    assert content["failed"] == [{"name": "nasp, round 2", "reason": "No memory."}]
    cost(path).raise_failures()
    assert [r.row for r in machine.asked[5:]] == ["nasp", "nasp"]
    assert [len(row["samples"]) for row in json.loads(path.read_text())["rows"]] == [7, 7]


@pytest.mark.parametrize("stopped_at", range(1, 7))
def test_a_call_that_was_stopped_goes_on(stopped_at: int, machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "cost.json"
    machine.broken = {stopped_at: Interrupted()}
    with pytest.raises(Interrupted, match=rf"^Stopped with {7 - stopped_at} .*goes on"):
        cost(path)
    resumed = cost(path).report()
    del machine.broken[stopped_at]
    machine.asked.clear()
    assert len(cost(path).report()["rows"]) == 2
    assert machine.asked == []
    whole = cost().report()
    for row, expected in zip(resumed["rows"], whole["rows"], strict=True):
        assert len(row["samples"]) == len(expected["samples"]) == 7
        assert row["flops"] == expected["flops"] == 5


def test_rows_can_be_added_to_a_file(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "cost.json"
    cost(path, ("floor",))
    names = [row["name"] for row in cost(path, ("nasp", "floor")).report()["rows"]]
    assert names == ["floor", "nasp"]
    assert [r.row for r in machine.asked] == ["floor"] * 3 + ["nasp"] * 3


def test_figures_of_two_machines_are_not_put_side_by_side(machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "cost.json"
    cost(path, ("floor",))
    before = path.read_text()
    machine.name = "elsewhere"
    with pytest.raises(NaspError, match="another machine"):
        cost(path)
    assert path.read_text() == before


def test_what_cannot_be_is_refused_before_anything_is_measured(machine: Machine) -> None:
    with pytest.raises(UsageError, match="Unknown row 'nsap'"):
        cost(rows=("floor", "nsap"))
    with pytest.raises(UsageError, match="cells=1 is too few"):
        measure_cost(BenchSettings(cells=1), ["floor"], Repetition(), None, nobody)
    assert machine.asked == []


def test_spread() -> None:
    assert spread([3.0, 1.0, 2.0, 9.0]) == {"median": 2.5, "min": 1.0, "max": 9.0}
