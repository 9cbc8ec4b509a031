"""Works in processes: their answers as they come, what dies or fails, and how a pool stops."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nasp.errors import NaspError, UsageError
from nasp.runs.interruption import Interrupted, Interruption, interruptible
from nasp.runs.pool import InTurn, Pool, Work
from nasp.runs.pool.processes import Processes

sys.path.insert(0, str(Path(__file__).parent))
import pool_works as works

HERE = str(Path(__file__).parent)


def run(pool: Pool, *wanted: Work, heard: list[Any] | None = None) -> dict[str, Any]:
    """Return key -> answer or error, in the order in which they came."""
    told = [] if heard is None else heard
    done = pool.run(wanted, Interruption(), lambda *said: told.append(said))
    return {each.key: each.error or each.answer for each in done}


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def wait_for(what: Callable[[], Any], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize("pool", [InTurn(), Processes(1), Processes(2)])
def test_answers_are_those_of_the_function_wherever_it_runs(pool: Pool) -> None:
    heard: list[Any] = []
    found = run(pool, *(Work(f"{n}", works.square, n) for n in range(5)), heard=heard)
    assert dict(sorted(found.items())) == {f"{n}": n**2 for n in range(5)}
    assert sorted(heard) == [(f"{n}", f"squaring {n}!") for n in range(5)]


def test_processes_are_used_again_but_for_what_needs_a_fresh_one() -> None:
    asked = [Work(f"{n}", works.process, 0.0, fresh=n >= 2, threads=n % 2 + 1) for n in range(4)]
    same = [Work(f"same {n}", works.process, 0.0) for n in range(2)]
    found = run(Processes(threads=3), *asked, *same)
    assert len({pid for pid, *_ in list(found.values())[:4]}) == 4
    assert found["same 0"] == found["same 1"]
    assert [threads for _, threads, _ in found.values()] == ["1", "2", "1", "2", "3", "3"]
    assert os.getpid() not in {pid for pid, *_ in found.values()}


def test_whichever_ends_first_comes_first_and_at_most_so_many_run() -> None:
    slow_first = [Work("slow", works.process, 1.5), Work("quick", works.process, 0.0)]
    pool = Processes(2, gpus=["0", "1"])
    found = run(pool, *slow_first)
    assert list(found) == ["quick", "slow"]
    assert {shown for *_, shown in found.values()} == {"0", "1"}
    done = pool.run(slow_first, Interruption(), lambda *_: None, at_once=1)
    assert [each.key for each in done] == ["slow", "quick"]


def test_a_failure_is_one_sentence_and_the_others_go_on() -> None:
    wanted = [Work(how, works.fail, how, advice="give less") for how in ("usage", "nasp", "x")]
    found = run(Processes(2), *wanted, Work("good", works.square, 3))
    assert isinstance(found["usage"], UsageError)
    assert str(found["usage"]) == "There is no such thing."
    assert (type(found["nasp"]), str(found["nasp"])) == (NaspError, "The loss became nan.")
    assert str(found["x"]) == "The process failed (ValueError: what); give less."
    assert found["good"] == 9


def test_one_whose_process_is_killed_is_tried_again_so_many_times(tmp_path: Path) -> None:
    heard: list[Any] = []
    often = Work("often", works.die, 9, tmp_path / "often", advice="give less")
    found = run(Processes(2, retries=2), Work("twice", works.die, 2, tmp_path / "a"), often,
                Work("good", works.square, 3), heard=heard)  # fmt: skip
    assert found["twice"] == "at attempt 3"
    assert found["good"] == 9
    killed = "killed, most likely for want of memory"
    assert str(found["often"]) == f"The process failed (it was {killed}); give less."
    assert (tmp_path / "often" / "attempts").read_text() == "3"
    lost = [said for said in heard if killed in said[1]]
    assert sorted(key for key, _ in lost) == ["often"] * 2 + ["twice"] * 2
    alone = Work("alone", works.die, 1, tmp_path / "alone", fresh=True)
    assert run(InTurn(retries=1), alone) == {"alone": "at attempt 2"}


def test_a_passing_event_is_told_now_and_then() -> None:
    heard: list[Any] = []
    run(Processes(), Work("many", works.many, 10_000), heard=heard)
    assert 1 <= len(heard) < 100


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_lets_those_with_a_folder_save_and_ends_the_others(
    number: signal.Signals, tmp_path: Path
) -> None:
    log, begun = tmp_path / "run" / "log", tmp_path / "pid"

    def stop() -> None:
        wait_for(lambda: begun.is_file() and begun.read_text() and log.is_file())
        os.kill(os.getpid(), number)

    def wanted() -> Any:
        yield Work("counts", works.count, 10_000, tmp_path / "run")
        yield Work("sleeps", works.sleep, str(begun))
        pytest.fail("another began")

    threading.Thread(target=stop, daemon=True).start()
    with interruptible() as interruption, pytest.raises(Interrupted):
        list(Processes(2).run(wanted(), interruption, lambda *_: None))
    assert (tmp_path / "run" / "saved").is_file()
    assert not is_running(int(begun.read_text()))
    steps = len(log.read_text().splitlines())
    found = run(InTurn(), Work("counts", works.count, steps + 2, tmp_path / "run"))
    assert found == {"counts": steps + 2}, "it goes on"


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
def test_no_process_outlives_a_pool_that_is_killed(tmp_path: Path) -> None:
    code = f"""
        import sys; sys.path.insert(0, {HERE!r})
        import pool_works
        from nasp.runs.interruption import Interruption
        from nasp.runs.pool import Work
        from nasp.runs.pool.processes import Processes
        work = Work("sleeps", pool_works.sleep, {str(tmp_path / "pid")!r})
        list(Processes(2).run([work], Interruption(), lambda *_: None))
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)]) as driver:
        wait_for(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text())
        driver.kill()
    pid = int((tmp_path / "pid").read_text())
    wait_for(lambda: not is_running(pid))
