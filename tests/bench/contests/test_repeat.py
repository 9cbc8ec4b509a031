"""The same search by several seeds: each as it is alone, resumed, bounded, beside chance."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from nasp.bench.contests.repeat import run
from nasp.bench.contests.repeat.field import agreement, by_chance
from nasp.bench.contests.repeat.run import BETTER, report_in, run_repeat
from nasp.bench.contests.repeat.spread import SELECTION, report_of
from nasp.bilevel.selection import Selection
from nasp.cli import main
from nasp.complexity import parameter_count
from nasp.complexity.control import Complexity
from nasp.errors import NaspError, UsageError
from nasp.jobs.job import begin
from nasp.jobs.options import search_job
from nasp.jobs.repeat import RepeatJob, begin_or_go_on, repeat_job, repeat_of
from nasp.jobs.search import run_search_job
from nasp.jobs.search_job import SearchJob
from nasp.report.repeat import repeat_remarks, repeat_table
from nasp.runs.folder import RunFolder
from nasp.runs.interruption import Interrupted
from nasp.spaces import NetworkConfig, find_space
from nasp.spaces.sampling import random_architecture
from nasp.supernet.architecture import Architecture
from nasp.training.events import Event, Started, Stepped

SPACE = find_space("nasbench201-3")
DATA = {"name": "digits", "subset": 40, "batch_size": 20}
LIMIT = 7_000
SIZE = NetworkConfig(in_channels=1, image_size=8, channels=4, cells=1)


def plan(search: dict[str, Any] | None = None, **given: Any) -> RepeatJob:
    asked = search_job(
        DATA,
        SPACE.name,
        {"channels": 2, "cells": 1},
        {"epochs": 2, "seed": 3, "fallback": "none", **(search or {})},
        {"lr": 0.05},
        selection={"first_rung": 1},
        bound_at="channels=4,cells=1" if search and "at_most" in search else None,
    )
    return repeat_job(asked, {"seeds": 3, **given})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[RepeatJob, Path, dict[str, Any]]:
    """Return a repeat under a bound that nothing disturbed."""
    job, path = plan({"at_most": [f"params={LIMIT}"]}), tmp_path_factory.mktemp("whole") / "r"
    return job, path, run_repeat(job, begin_or_go_on(path, job))


def test_each_seed_is_searched_as_it_would_be_alone(
    whole: tuple[RepeatJob, Path, dict[str, Any]], tmp_path: Path
) -> None:
    job, path, report = whole
    assert [row["seed"] for row in report["seeds"]] == [3, 4, 5]
    alone = job.searches[4]
    run_search_job(alone, begin(tmp_path / "alone", alone))
    for name in ("metrics.jsonl", "architecture.json", "weights.safetensors"):
        assert (path / "seed-4" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_all_keep_the_bound_and_train_under_one_budget(
    whole: tuple[RepeatJob, Path, dict[str, Any]],
) -> None:
    _, path, report = whole
    networks = len({row["architecture"] for row in [*report["seeds"], *report["random"]]})
    assert report["schedule"][0]["networks"] == networks
    assert len(report["random"]) == 3
    for row in [*report["seeds"], *report["random"]]:
        network = SPACE.network(SPACE.parse(row["architecture"]), SIZE)
        assert row["costs"] == {"parameters": parameter_count(network)}
        assert parameter_count(network) <= LIMIT
        assert row["keeps_bounds"]
        assert len(row["figures"]) >= 1
    # The contenders of the selection are these, and their first figures the report's.
    kept = json.loads((path / "selection.json").read_text())["contenders"]
    first = {
        SPACE.notation(Architecture(c["edges"], SPACE.name)): c["rungs"][0]["accuracy"]
        for c in kept
    }
    for row in [*report["seeds"], *report["random"]]:
        assert row["figures"][0] == first[row["architecture"]]
    figures = [row["figures"][0] for row in report["seeds"]]
    assert report["spread"]["found"]["mean"] == pytest.approx(fmean(figures))
    assert report["spread"]["found"]["std"] == pytest.approx(stdev(figures))
    assert report["spread"]["found"]["worst"] == min(figures)
    pairs = [(a, row["figures"][0]) for a in figures for row in report["random"]]
    assert report["beats"] == fmean((a > b) + (a == b) / 2 for a, b in pairs)


def test_the_folder_ends_as_a_searchs_does(
    whole: tuple[RepeatJob, Path, dict[str, Any]],
) -> None:
    job, path, report = whole
    best = min(report["seeds"], key=lambda row: row["place"])
    assert report["kept"]["architecture"] == best["architecture"]
    found = Architecture.load(path / "architecture.json")
    assert SPACE.notation(found) == report["kept"]["architecture"]
    own, seeds = load_file(path / "weights.safetensors"), path / report["kept"]["run"]
    theirs = load_file(seeds / "weights.safetensors")
    assert own.keys() == theirs.keys()
    assert all((own[name] == theirs[name]).all() for name in own)
    folder = RunFolder.open(path)
    assert repeat_of(folder) == job.model_copy(update={"data": job.data.absolute()})
    assert report_in(folder) == report
    seen: list[Event] = []
    assert run_repeat(job, begin_or_go_on(path, job), seen.append) == report
    assert seen == []
    with pytest.raises(UsageError, match="is not empty: go on with 'nasp resume"):
        begin_or_go_on(path, plan(seeds=4))


def test_a_repeat_that_was_stopped_ends_the_same(
    whole: tuple[RepeatJob, Path, dict[str, Any]], tmp_path: Path
) -> None:
    job, path, report = whole
    steps, stops, started = 0, (3, 9, 15), list[Started]()

    def stop(event: Event) -> None:
        nonlocal steps
        steps += isinstance(event, Stepped)
        if isinstance(event, Started):
            started.append(event)
        if steps in stops:
            steps += 1
            os.kill(os.getpid(), signal.SIGINT)

    folder = begin_or_go_on(tmp_path / "stopped", job)
    for _ in stops:
        with pytest.raises(Interrupted, match=r"Stopped with \d .* to go: nasp resume .*stopped"):
            run_repeat(job, folder, stop)
        assert report_in(folder) is None
    assert run_repeat(job, begin_or_go_on(folder.path, job), stop) == report
    for name in ("architecture.json", "weights.safetensors", "selection.json", "costs.json"):
        assert (folder.path / name).read_bytes() == (path / name).read_bytes()
    # A start for each search and the selection, and one more for each stop.
    assert len(started) == 4 + len(stops)
    assert sum(bool(event.epoch or event.step) for event in started) == len(stops)


def reversed_selection(monkeypatch: pytest.MonkeyPatch, order: Callable[[Any], Any]) -> None:
    """Let the selection end in another order."""
    select = run.select_among

    def among(*arguments: Any) -> Selection:
        found = select(*arguments)
        return Selection(found.mode, found.schedule, tuple(order(found.contenders)))

    monkeypatch.setattr(run, "select_among", among)


def test_a_random_network_that_is_better_is_told_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = plan(random=2, budget=8)
    random: list[str] = []

    def last_first(contenders: Any) -> Any:
        rows = sorted(contenders, key=lambda each: SPACE.notation(each.architecture) in random)
        return list(reversed(rows))

    draw = run.field_of

    def drawn(*arguments: Any) -> Any:
        field = draw(*arguments)
        random.extend(map(SPACE.notation, field.random))
        return field

    monkeypatch.setattr(run, "field_of", drawn)
    reversed_selection(monkeypatch, last_first)
    report = run_repeat(job, begin_or_go_on(tmp_path / "r", job))
    found = {row["architecture"] for row in report["seeds"]}
    assert report["better"] in report["random"]
    assert report["better"]["architecture"] not in found
    assert report["kept"]["architecture"] in found
    kept = SPACE.notation(Architecture.load(tmp_path / "r" / "architecture.json"))
    assert kept == report["kept"]["architecture"]
    better = SPACE.notation(Architecture.load(tmp_path / "r" / BETTER))
    assert better == report["better"]["architecture"]
    assert sum(r["networks"] * r["epochs"] for r in report["schedule"]) <= 8
    said = " ".join(repeat_remarks(report, RunFolder(tmp_path / "r")))
    assert "A random network did better than all that was found" in said
    assert f"nasp train {tmp_path}/r/control.json --data digits" in said
    assert [row[2] for row in repeat_table(report).rows].count("better") == 1


def test_a_time_is_measured_once_for_all_and_what_breaks_the_bound_takes_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, broken = plan({"at_most": ["latency=1s"], "epochs": 1}, random=0), list[Architecture]()
    take_in, is_feasible = run.take_in, Complexity.is_feasible

    def note(complexity: Complexity, architecture: Architecture, search: RunFolder) -> None:
        if search.path.name == "seed-3":
            broken.append(architecture)
        take_in(complexity, architecture, search)

    def feasible(self: Complexity, architecture: Architecture) -> bool:
        return architecture not in broken and is_feasible(self, architecture)

    monkeypatch.setattr(run, "take_in", note)
    monkeypatch.setattr(Complexity, "is_feasible", feasible)
    report = run_repeat(job, begin_or_go_on(tmp_path / "r", job))
    costs = [json.loads(path.read_text()) for path in (tmp_path / "r").glob("**/costs.json")]
    assert len(costs) == 4
    assert all(each["bound: latency"] == costs[0]["bound: latency"] for each in costs)
    for row in report["seeds"]:
        own = json.loads((tmp_path / "r" / row["run"] / "costs.json").read_text())
        assert row["costs"]["latency"] == own["result"][0]["reached"]
    out = [row for row in report["seeds"] if row["architecture"] == SPACE.notation(broken[0])]
    assert out
    assert all(row["figures"] == [] for row in out)
    assert report["kept"] not in out
    assert (report["random"], report["spread"]["random"], report["beats"]) == ([], None, None)


def test_agreement_and_chance() -> None:
    def cell(*held: str | None) -> Architecture:
        return Architecture(dict(enumerate(held)))  # type: ignore[arg-type]

    found = [cell("a", "a"), cell("a", "b"), cell("a", None)]
    assert agreement(found) == pytest.approx(1 / 2)
    assert by_chance(found) == pytest.approx((1 + 1 / 3) / 2)


def test_the_report_counts_and_orders() -> None:
    job = plan(random=1)
    cells = [SPACE.notation(random_architecture(SPACE, seed)) for seed in range(3)]
    networks = [
        {"architecture": cell, "parameters": 1, "costs": {}, "keeps_bounds": True, "figures": f}
        for cell, f in zip(cells, ([0.5, 0.4], [0.7, 0.5], [None]), strict=True)
    ]
    found = {
        "seed 3": {"architecture": cells[0]},
        "seed 4": {"architecture": cells[1]},
        "seed 5": {"architecture": cells[0]},
        SELECTION: {
            "figure": "loss",
            "higher_is_better": False,
            "schedule": [{"networks": 3, "epochs": 1}, {"networks": 2, "epochs": 2}],
            "networks": networks,
            "random": [cells[2]],
            "agreement": 0.5,
            "chance": 0.2,
        },
    }
    report = report_of(job, found)
    assert [row["same"] for row in report["seeds"]] == [2, 1, 2]
    assert report["architectures"] == 2
    assert (report["kept"]["seed"], report["better"]) == (3, None)
    over = report["spread"]["found"]
    assert (over["best"], over["worst"], over["networks"]) == (0.5, 0.7, 3)
    assert over["std"] == pytest.approx(stdev([0.5, 0.7, 0.5]))
    assert report["spread"]["random"] is None
    assert report["beats"] == 1  # for the random one diverged
    rows = repeat_table(report).rows
    assert rows[0] == ["seed 3", "A, of 2 seeds", "kept", "1", "0.5000", "0.4000"]
    assert rows[1][:3] == ["seed 4", "B", ""]
    assert rows[3] == ["random 1", "control", "", "1", "diverged", ""]
    said = repeat_remarks(report, RunFolder(Path("r")))
    assert said[0] == f"A: {cells[0]}"
    assert "3 seeds found 2 architectures; two seeds agree in 50% of the edges" in said[2]
    assert "found 0.5667 ± 0.1155, worst 0.7000" in said[3]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seeds": 1}, "seeds"),
        ({"budget": 5}, "5 epochs do not train 6 networks, 3 found and 3 random: give at least 6"),
        ({"random": -1}, "random"),
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(**given)


def draw(folder: Path) -> None:
    """Draw images in the colour of their class."""
    generator = torch.Generator().manual_seed(0)
    for label, name in enumerate(("cat", "dog")):
        (folder / name).mkdir(parents=True)
        for number in range(16):
            pixels = torch.randint(150, (9, 9, 3), generator=generator, dtype=torch.uint8)
            pixels[..., label] += 100
            Image.fromarray(pixels.numpy()).save(folder / name / f"{number}.png")


def test_the_commands_take_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "first")
    small = ["--space", SPACE.name, "--channels", "2", "--cells", "1", "--image-size", "8"]
    small += ["--batch-size", "4", "--workers", "0", "--epochs", "1", "--select-epochs", "3"]
    again = ["repeat", "--data", "folder:first", "--seeds", "2", "--random", "1", *small]

    def nasp(*words: str, code: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["nasp", *words])
        with suppress(SystemExit) if not code else pytest.raises(SystemExit, match=str(code)):
            main()
        out, err = capsys.readouterr()
        return out, err

    search = run_search_job

    def fail(job: SearchJob, *others: Any) -> Any:
        if job.search.seed == 1:
            raise NaspError("The disk is full.")
        return search(job, *others)

    with monkeypatch.context() as failing:
        failing.setattr("nasp.jobs.search.run_search_job", fail)
        assert "seed 1: The disk is full" in nasp(*again, "--out", "r", code=1)[1]
    assert (
        "Searches that are done: seed-0\nNot finished. Next: nasp resume r" in nasp("show", "r")[0]
    )
    assert "The repeat in r is not finished" in nasp("train", "r", code=2)[1]
    (tmp_path / "first").rename(tmp_path / "second")
    again[again.index("folder:first")] = "folder:second"
    out, said_on_resume = nasp("resume", "r", "--data", "folder:second")
    assert "[2/2] seed 1" in said_on_resume  # what was done is not done again
    assert "seed 0" not in said_on_resume
    for text in ("seed 0", "seed 1", "random 1", "Next: nasp train r", "two seeds agree in"):
        assert text in out
    shown, _ = nasp("show", "r", "--no-latency")
    assert out.partition("cell")[0] in shown
    assert nasp("resume", "r")[0] == nasp(*again, "--out", "r")[0] == out
    said = json.loads(nasp(*again, "--out", "r", "--json")[0])
    assert [row["run"] for row in said["seeds"]] == ["seed-0", "seed-1"]
    assert json.loads(nasp("show", "r", "--json", "--no-latency")[0])["repeat"]["kept"]
    nasp("train", "r", "--epochs", "1", "--channels", "2", "--cells", "1", "--batch-size", "4")
    assert (tmp_path / "r" / "train" / "best.safetensors").is_file()
    assert '"top"' in nasp("predict", "r", "second/cat/0.png")[0]
    nasp("export", "r", "--weights", "inherit", "--to", "python", "--out", "net.py")
    assert (tmp_path / "net.py").is_file()
    nasp("report", "r")
    page = (tmp_path / "r" / "report.html").read_text()
    tabs = re.findall(r'role="tab".*?>(.*?)</button>', page)
    assert tabs == ["r", "Side by side", "seed-0", "seed-1"]
    assert "What each seed found" in page
    for words, message in (
        (("resume", "r", "--epochs", "9"), "Only a search goes on for more epochs"),
        (("resume", "r", "--log", "wandb"), "A repeat tells no tracker"),
        (("show", "r", "--plot", "p.png"), "A repeat has no curves, its searches have"),
        (("compare", "r", "r/seed-0"), "is no search or training"),
        ((*again, "--out", "r", "--seed", "1"), "is not empty"),
        ((*again, "--out", "new", "--at-most", "params=1"), "No architecture keeps the bound"),
    ):
        assert message in nasp(*words, code=2)[1]
    assert not (tmp_path / "new").exists()
