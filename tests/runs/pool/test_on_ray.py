"""Works on a Ray cluster of two workers: the answers of one after the other, whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from nasp.bench.harness import measure_missing
from nasp.bench.results import Results
from nasp.errors import UsageError
from nasp.jobs.job import run_of
from nasp.jobs.options import search_job
from nasp.jobs.search import run_search_job
from nasp.jobs.search_job import SearchJob
from nasp.runs.interruption import Interrupted, Interruption, interruptible
from nasp.runs.pool import Work, Workplace, on_ray
from nasp.runs.pool.cluster import Cluster
from nasp.runs.pool.on_ray import OnRay
from nasp.training.events import nobody

pytest.importorskip("ray")
sys.path.insert(0, str(Path(__file__).parent))
import pool_works as works

HERE = str(Path(__file__).parent)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    ray = pytest.importorskip("ray")
    # pytest's own folder is too deep for the names of Ray's sockets.
    short = TemporaryDirectory(prefix="ray", dir="/tmp", ignore_cleanup_errors=True)
    with short as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", folder)
        patch.setenv("RAY_AUTH_MODE", "disabled")  # else a token is written into the home
        # One of its own, whatever else runs on this machine, such as another worker's.
        quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
        patch.setenv("RAY_ADDRESS", ray.init("local", num_cpus=2, **quiet).address_info["address"])
        yield Cluster("ray")
        ray.shutdown()


@pytest.fixture
def _unshared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the workers see no folder of the driver's."""

    @contextmanager
    def no_marks() -> Iterator[Callable[[Path], str]]:
        name = uuid.uuid4().hex
        yield lambda folder: name

    monkeypatch.setattr(on_ray, "_marks", no_marks)


def run(pool: OnRay, *wanted: Work, heard: list[Any] | None = None) -> dict[str, Any]:
    told = [] if heard is None else heard
    done = pool.run(wanted, Interruption(), lambda *said: told.append(said))
    return {each.key: each.error or each.answer for each in done}


def wait_for(what: Callable[[], Any], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def test_answers_come_as_from_any_pool(cluster: Cluster) -> None:
    heard: list[Any] = []
    pool = OnRay(cluster, None, retries=0, threads=1)
    squares = [Work(f"{n}", works.square, n) for n in range(3)]
    failing = [Work(how, works.fail, how, advice="give less") for how in ("usage", "x")]
    slow = [Work(f"at {n}", works.process, 0.5, fresh=True) for n in range(2)]
    found = run(pool, *squares, *failing, *slow, heard=heard)
    assert [found[f"{n}"] for n in range(3)] == [0, 1, 4]
    assert sorted(heard) == [(f"{n}", f"squaring {n}!") for n in range(3)]
    assert isinstance(found["usage"], UsageError)
    assert str(found["usage"]) == "There is no such thing."
    assert str(found["x"]) == "The process failed (ValueError: what); give less."
    assert found["at 0"][0] != found["at 1"][0]
    assert [found[f"at {n}"][1] for n in range(2)] == ["1", "1"]


@pytest.mark.usefixtures("_unshared")
def test_one_whose_worker_or_node_died_goes_on_in_its_folder(
    cluster: Cluster, tmp_path: Path
) -> None:
    heard: list[Any] = []
    pool = OnRay(cluster, None, retries=1, threads=1, every=0.1)
    found = run(
        pool,
        Work("worker", works.die, 1, tmp_path / "worker"),
        Work("node", works.die_with_node, None, tmp_path / "node"),
        Work("often", works.die, 9, tmp_path / "often", advice="give less"),
        heard=heard,
    )
    assert (found["worker"], found["node"]) == ("at attempt 2", "went on")
    assert "worker died" in str(found["often"])
    assert str(found["often"]).endswith("give less.")
    lost = sorted(key for key, said in heard if said.startswith("lost (The worker die"))
    assert lost == ["node", "often", "worker"]
    assert (tmp_path / "worker" / "attempts").read_text() == "2"
    assert [path.name for path in (tmp_path / "node").iterdir()] == ["progress"]


JOB = search_job(
    data={"name": "digits", "subset": 32, "batch_size": 16},
    space="nasbench201-3",
    size={"channels": 2, "cells": 1},
    search={"epochs": 3, "device": "cpu", "seed": 1},
    settings={},
)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the search that ran here, and was never killed."""
    path = tmp_path_factory.mktemp("alone") / "run"
    assert isinstance(JOB, SearchJob)
    run_search_job(JOB, run_of(path, JOB, "the same"))
    return path


def test_a_search_whose_worker_is_killed_half_way_ends_to_the_same_bits(
    cluster: Cluster, tmp_path: Path, alone: Path
) -> None:
    folder, heard = tmp_path / "run", list[Any]()
    pool = OnRay(cluster, None, retries=1, threads=1)
    found = run(pool, Work("search", works.search, JOB, folder), heard=heard)
    assert [key for key, said in heard if said.startswith("lost")] == ["search"]
    for name in ("architecture.json", "metrics.jsonl", "alphas.safetensors", "weights.safetensors"):
        assert (folder / name).read_bytes() == (alone / name).read_bytes(), name
    assert found["search"] == json.loads((alone / "architecture.json").read_text())["edges"]


@pytest.mark.usefixtures("_unshared")
def test_a_stop_saves_what_has_a_folder(cluster: Cluster, tmp_path: Path) -> None:
    folder, pids = tmp_path / "run", tmp_path / "pids"

    def stop() -> None:
        wait_for(lambda: pids.is_file() and pids.read_text())
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=stop, daemon=True).start()
    counting = Work("counts", works.count, 10_000, folder)
    sleeping = Work("sleeps", works.sleep, str(pids))
    pool = OnRay(cluster, 2, retries=1, threads=1)
    with interruptible() as interruption, pytest.raises(Interrupted):
        list(pool.run([counting, sleeping], interruption, lambda *_: None))
    assert (folder / "saved").is_file()
    steps = len((folder / "log").read_text().splitlines())
    assert steps > 1
    assert works.count(steps + 2, Workplace(folder, nobody)) == steps + 2, "it goes on"
    wait_for(lambda: not is_running(int(pids.read_text())))


def test_a_driver_that_is_killed_loses_nothing_and_nothing_runs_twice(
    cluster: Cluster, tmp_path: Path
) -> None:
    path, log = tmp_path / "results.json", tmp_path / "log"

    def measured(pool: OnRay) -> Results:
        results = Results(path, "test", {}, lambda found: {})
        wanted = works.logs(tmp_path)
        measure_missing(list(wanted), wanted.__getitem__, results, nobody, pool)
        return results

    code = f"""
        import sys; sys.path.insert(0, {HERE!r})
        from pathlib import Path
        import pool_works
        from nasp.bench.harness import measure_missing
        from nasp.bench.results import Results
        from nasp.runs.pool.cluster import Cluster
        from nasp.runs.pool.on_ray import OnRay
        results = Results(Path({str(path)!r}), "test", {{}}, lambda found: {{}})
        wanted = pool_works.logs(Path({str(tmp_path)!r}))
        pool = OnRay(Cluster("ray"), 2, retries=1, threads=1)
        measure_missing(list(wanted), wanted.__getitem__, results, lambda _: None, pool)
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)]) as driver:
        wait_for(lambda: path.is_file() and len(json.loads(path.read_text())["measurements"]) > 2)
        driver.kill()
    kept = json.loads(path.read_text())["measurements"]
    assert 2 < len(kept) < 8
    pids = {int(line.split()[1]) for line in log.read_text().splitlines()}
    wait_for(lambda: not any(map(is_running, pids)))
    lines = len(log.read_text().splitlines())
    results = measured(OnRay(cluster, None, retries=1, threads=1))
    assert list(results.measurements) == [f"{number}" for number in range(8)]
    assert {value["found"] for value in results.measurements.values()} == set(range(8))
    again = [line.split()[0] for line in log.read_text().splitlines()[lines:]]
    assert sorted(again) == sorted(set(map(str, range(8))) - set(kept))


def test_more_than_a_node_has_is_refused(cluster: Cluster) -> None:
    with pytest.raises(UsageError, match=r"No node of the cluster has 3 CPUs.*are 2 and 0\)"):
        OnRay(cluster, None, retries=1, threads=1, cpus=3)
    with pytest.raises(UsageError, match=r"1 CPUs and 0.5 GPUs for a job .*--gpus-per-job"):
        OnRay(cluster, None, retries=1, threads=1, gpus=0.5)
