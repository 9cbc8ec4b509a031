"""Epochs of steps, their means, and a stop on request."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

import nasp.training.loop
from nasp.runs.checkpoints import Checkpointer
from nasp.runs.clock import Clock
from nasp.runs.folder import RunFolder
from nasp.runs.interruption import Interrupted
from nasp.training.events import EpochEnded, Event, Started, Stepped, Warned, nobody
from nasp.training.loop import EpochReport, StepReport, run_epochs
from nasp.training.meter import Meter


class Count:
    """Counts steps; `at` happens at that step."""

    def __init__(self, at: int = -1, then: Any = None) -> None:
        self.steps = 0
        self.at, self.then = at, then

    def __call__(self) -> StepReport:
        self.steps += 1
        if self.steps == self.at:
            self.then()
        metrics = {"x": float(self.steps)}
        if self.steps % 2:
            metrics["odd"] = 10.0 * self.steps
        return StepReport(metrics, changed_edges=self.steps)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]


def end(epoch: int) -> EpochReport:
    return EpochReport({"squared": epoch**2}, ("beware",) if epoch == 2 else ())


def loop(step: Count, run: RunFolder | None, observe: Any = nobody, minutes: float = 5) -> Any:
    meter = Meter()
    checkpointer = Checkpointer(run, {"step": step, "meter": meter}, minutes)
    return run_epochs(3, 2, step, end, checkpointer, meter, run, observe)


LINES = [
    {"epoch": 1, "x": 1.5, "odd": 10.0, "squared": 1},
    {"epoch": 2, "x": 3.5, "odd": 30.0, "squared": 4, "warnings": ["beware"]},
    {"epoch": 3, "x": 5.5, "odd": 50.0, "squared": 9},
]


def test_lines_and_events(tmp_path: Path) -> None:
    events: list[Event] = []
    run = RunFolder.create(tmp_path, {})
    assert loop(Count(), run, events.append) == run.metrics() == LINES
    assert [line["epoch"] for line in run.timing()] == [1, 2, 3]
    assert all(line.keys() == {"epoch", "seconds"} for line in run.timing())
    assert events[0] == Started(0, 3, 2, 0)
    assert events[1] == Stepped(1, 1, {"x": 1.0, "odd": 10.0}, 1)
    assert events[2] == Stepped(1, 2, {"x": 1.5, "odd": 10.0}, 2)
    kinds = [type(event) for event in events]
    epoch = [Stepped, Stepped, EpochEnded]
    assert kinds == [Started, *epoch, *epoch, Warned, *epoch]
    assert events[7] == Warned("beware")


def test_without_a_run_the_lines_are_returned() -> None:
    assert loop(Count(), None) == LINES


def test_a_finished_loop_does_nothing_more(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, {})
    loop(Count(), run)
    again = Count()
    assert loop(again, run) == []
    assert again.steps == 6
    assert run.metrics() == LINES


@pytest.mark.parametrize("at", range(1, 7))
@pytest.mark.parametrize("minutes", [5, 1e-9])
def test_an_error_at_any_step_is_resumed(tmp_path: Path, at: int, minutes: float) -> None:
    class BoomError(Exception):
        pass

    def boom() -> None:
        raise BoomError

    run = RunFolder.create(tmp_path, {})
    with pytest.raises(BoomError):
        loop(Count(at, boom), run, minutes=minutes)
    events: list[Event] = []
    loop(Count(), run, events.append)
    assert run.metrics() == LINES
    done = at - 1 if minutes < 1 else (at - 1) // 2 * 2
    assert events[0] == Started(done // 2, 3, 2, done % 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_on_request(tmp_path: Path, number: signal.Signals) -> None:
    run = RunFolder.create(tmp_path, {})
    step = Count(3, lambda: os.kill(os.getpid(), number))
    with pytest.raises(Interrupted, match="Stopped in epoch 2 after step 1") as caught:
        loop(step, run)
    assert str(caught.value).endswith(f"Go on with: nasp resume {tmp_path}")
    assert step.steps == 3
    loop(Count(), run)
    assert run.metrics() == LINES


def test_a_stop_without_a_run() -> None:
    step = Count(3, lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(Interrupted, match="nothing was saved"):
        loop(step, None)


@pytest.mark.parametrize("clock", ["wall", "cpu"])
@pytest.mark.parametrize(("minutes", "epochs"), [(0.5, 1), (1.0, 2), (1.9, 3), (9.0, 4)])
def test_no_epoch_begins_once_the_time_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: Clock, minutes: float, epochs: int
) -> None:
    step = Count()
    monkeypatch.setattr(nasp.training.loop, "CLOCKS", {clock: lambda: 20.0 * step.steps})
    run = RunFolder.create(tmp_path, {})
    meter = Meter()
    checkpointer = Checkpointer(run, {"step": step, "meter": meter}, 5)

    def trained() -> int:
        arguments = 4, 2, step, end, checkpointer, meter, run, nobody
        return len(run_epochs(*arguments, minutes=minutes, clock=clock))

    assert trained() == epochs
    assert [line["seconds"] for line in run.timing()] == [40.0] * epochs
    assert trained() == 0


def test_the_meter_weighs_steps_alike_and_remembers() -> None:
    meter = Meter()
    assert meter.means() == {}
    meter.add({"a": 1.0})
    meter.add({"a": 2.0, "b": 5.0})
    assert meter.means() == {"a": 1.5, "b": 5.0}
    again = Meter()
    again.load_state_dict(meter.state_dict())
    again.add({"b": 7.0})
    assert again.means() == {"a": 1.5, "b": 6.0}
    assert meter.means() == {"a": 1.5, "b": 5.0}  # no shared state
    again.reset()
    assert again.means() == {}
