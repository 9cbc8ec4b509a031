"""``nasp bench quality``: budgets, rows, resuming, and real searches."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nasp.bench.contests import calibration, contest
from nasp.bench.contests.calibration import Cost, cost_of
from nasp.bench.contests.contest import Contest
from nasp.bench.contests.contestant import contestants_of, parse_contestant
from nasp.bench.contests.peers import Kept
from nasp.bench.contests.plots import draw_quality, quality_bands
from nasp.bench.contests.quality import measure_quality
from nasp.bench.contests.quality_rows import comparisons
from nasp.bench.contests.search import SearchRequest, SearchSample, run_search
from nasp.bench.contests.settings import Budget, ContestSettings, contest_settings
from nasp.bench.contests.stopwatch import Phase, Seconds, Stopwatch
from nasp.bench.tables.accuracies import embedded
from nasp.bilevel.selection import SelectConfig
from nasp.bilevel.settings import SearchConfig
from nasp.cli import main
from nasp.errors import NaspError, UsageError
from nasp.runs.interruption import Interrupted
from nasp.runs.pool import InTurn
from nasp.spaces import find_space
from nasp.spaces.sampling import small_supernet, without_parameters
from nasp.supernet.architecture import Architecture
from nasp.training.events import EpochEnded, Started, Stepped, nobody

TABLE = embedded("digits")
SPACE = find_space("nasbench201-3")
GOOD = SPACE.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|")
DEAD = SPACE.parse("|none~0|+|none~0|none~1|")
TINY = ContestSettings(
    data={"name": "digits", "subset": 48, "batch_size": 16},
    space="nasbench201-3",
    channels=2,
    cells=1,
    budget=Budget(epochs=2),
    threads=1,
    device="cpu",
)


def seconds(value: float) -> Seconds:
    return Seconds(wall=value, cpu=value / 2)


def sample(
    found: Architecture = GOOD, epochs: int = 2, selection: tuple[Phase, ...] = (), **fields: Any
) -> SearchSample:
    """Return a search of `epochs` seconds, each epoch of four steps of a tenth of one."""
    search = Phase(
        name="epoch",
        begun=seconds(0),
        ends=[seconds(epoch + 1) for epoch in range(epochs)],
        steps=[seconds(0.1)] * epochs,
    )
    return SearchSample(
        **{
            "architecture": dict(found.edges),
            "derived": [dict(DEAD.edges)] * (epochs - 1) + [dict(GOOD.edges)],
            "total": selection[-1].ends[-1] if selection else search.ends[-1],
            "phases": [search, *selection],
            "steps_per_epoch": 4,
            "full_steps_per_epoch": 40,
            "batches": 4,
            "full_batches": 40,
            "peak_bytes": 7,
            "idle_bytes": 5,
            "peak_source": "VmHWM",
            "selection": {} if selection else None,
            "machine": {"cpu": "here"},
            **fields,
        }
    )


class Process:
    """Instead of searches: notes what was asked, and answers at once."""

    def __init__(self, stop_at: str | None = None, fail: str | None = None) -> None:
        self.asked: list[tuple[str, int, int, float]] = []
        self.stop_at, self.fail = stop_at, fail

    def __call__(self, request: SearchRequest, _: object) -> SearchSample:
        search = request.job.search
        if search.strategy == self.stop_at:
            raise Interrupted
        self.asked.append((search.strategy, search.seed, search.epochs, request.share))
        if search.strategy == self.fail:
            raise NaspError("The loss became nan.")
        return sample(DEAD if search.strategy == "darts" else GOOD, search.epochs)


class Here(InTurn):
    """Runs in this process what needs a fresh one."""

    def run(self, works: Any, *more: Any) -> Any:
        return super().run((replace(work, fresh=False) for work in works), *more)


def measured(
    monkeypatch: pytest.MonkeyPatch,
    process: Process,
    contestants: str,
    path: Path | None = None,
    seeds: int = 2,
    settings: ContestSettings = TINY,
) -> dict[str, Any]:
    for module in (contest, calibration):
        monkeypatch.setattr(module, "run_search", process)
    names = contestants.split(",")
    found = contestants_of([n for n in names if "=" not in n], [n for n in names if "=" in n])
    among = Contest(settings, found, range(seeds), TABLE)
    return measure_quality(among, "nasp", path, nobody, Here()).report()


def test_who_returned_the_start_with_every_seed_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = iter([GOOD, GOOD, GOOD, DEAD])

    def process(request: SearchRequest, _: object) -> SearchSample:
        return sample(GOOD, request.job.search.epochs, start=dict(next(starts).edges))

    report = measured(monkeypatch, process, "nasp,darts", seeds=1)  # type: ignore[arg-type]
    assert [row["marks"][0] for row in report["rows"]] == [True, True]
    starts = iter([GOOD, GOOD, GOOD, DEAD])
    report = measured(monkeypatch, process, "nasp,darts")  # type: ignore[arg-type]
    assert [row["marks"][0] for row in report["rows"]] == [True, False]


def test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    process = Process()
    report = measured(monkeypatch, process, "nasp,darts")
    assert [(s, seed) for s, seed, *_ in process.asked] == [
        ("nasp", 0), ("darts", 0), ("nasp", 1), ("darts", 1)
    ]  # fmt: skip
    nasp, darts = report["rows"]
    good, dead = TABLE.accuracy(GOOD), TABLE.accuracy(DEAD)
    assert nasp["table_accuracy"] == {
        "mean": good, "std": 0.0, "best": good, "worst": good, "seeds": [good, good]
    }  # fmt: skip
    assert nasp["regret"] == pytest.approx(TABLE.best - good)
    assert darts["percentile"] == pytest.approx(100 * 9 / 2 / 125)
    assert (nasp["parameterless"], darts["parameterless"]) == (pytest.approx(1 / 3), 1.0)
    assert (nasp["seconds"], nasp["cpu_seconds"], nasp["peak_bytes"]) == (2.0, 1.0, 7)
    assert [p["table_accuracy"]["mean"] for p in darts["per_epoch"]] == [dead, good]
    assert [p["seconds"] for p in darts["per_epoch"]] == [1.0, 2.0]
    # The one that began elsewhere is not marked; the other holds nothing but parameterless edges.
    assert (nasp["marks"], darts["marks"]) == ([False, False], [False, True])
    (compared,) = report["comparisons"]
    assert (compared["name"], compared["against"], compared["wins"]) == ("nasp", "darts", 2)
    assert compared["mean"] == pytest.approx(good - dead)
    assert report["table"]["best"] == TABLE.best
    assert report["machine"] == {"cpu": "here"}


def test_where_a_result_stands_among_cells_of_its_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bound, by hand: a 3x3 convolution counts nine times a 1x1, everything else nothing."""
    supernet = small_supernet(find_space(TABLE.space))
    each = {"none": 0, "skip_connect": 0, "nor_conv_1x1": 1, "nor_conv_3x3": 9, "avg_pool_3x3": 0}
    costs = {"fixed": 5.0, "edges": {e: dict(each) for e in supernet.edges}, "inside": {}}
    bound = Kept(cost="parameters", least=15, most=16, table=costs)

    def process(request: SearchRequest, _: object) -> SearchSample:
        is_bounded = request.job.search.strategy == "nasp"
        return sample(GOOD, request.job.search.epochs, bounds=[bound] if is_bounded else [])

    nasp, darts = measured(monkeypatch, process, "nasp,darts")["rows"]  # type: ignore[arg-type]
    assert darts["at_cost"] is None
    peers = []
    for cell, accuracy in TABLE.accuracies.items():
        held = list(find_space(TABLE.space).parse(cell).edges.values())
        threes, ones = held.count("nor_conv_3x3"), held.count("nor_conv_1x1")
        if 10 <= 9 * threes + ones <= 11:
            peers.append(accuracy)
    good = TABLE.accuracy(GOOD)
    place = 100 * (sum(a < good for a in peers) + sum(a == good for a in peers) / 2) / len(peers)
    assert len(peers) == 3 * 2 * 3 + 3  # one 3x3, and one 1x1 or two
    assert nasp["at_cost"] == {
        "cells": 21, "percentile": pytest.approx(place), "percentiles": [pytest.approx(place)] * 2
    }  # fmt: skip


def test_results_grow_and_go_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "quality.json"
    with pytest.raises(Interrupted, match=r"3 measurements to go.*quality\.json"):
        measured(monkeypatch, Process(stop_at="darts"), "nasp,darts", path)
    second, third = Process(), Process()
    measured(monkeypatch, second, "nasp,darts", path)
    assert [entry[:2] for entry in second.asked] == [("darts", 0), ("nasp", 1), ("darts", 1)]
    report = measured(monkeypatch, third, "x=nasp uniform=0.5", path, seeds=3)
    assert [row["name"] for row in report["rows"]] == ["nasp", "darts", "x"]
    assert [row["seeds"] for row in report["rows"]] == [[0, 1], [0, 1], [0, 1, 2]]
    assert {c["against"]: c["seeds"] for c in report["comparisons"]} == {"darts": 2, "x": 2}
    with pytest.raises(UsageError, match="'x' with other settings"):
        measured(monkeypatch, Process(), "x=nasp uniform=0.25", path)
    other = TINY.model_copy(update={"budget": Budget(epochs=3)})
    with pytest.raises(UsageError, match="other settings"):
        measured(monkeypatch, Process(), "nasp", path, settings=other)


def test_who_fails_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "quality.json"
    report = measured(monkeypatch, Process(fail="gdas"), "gdas,nasp", path)
    assert [row["name"] for row in report["rows"]] == ["nasp"]
    assert [f["name"] for f in report["failed"]] == ["gdas, seed 0", "gdas, seed 1"]
    again = Process()
    report = measured(monkeypatch, again, "gdas,nasp", path)
    assert [entry[0] for entry in again.asked] == ["gdas", "gdas"]
    assert report["failed"] == []


def test_settings_that_cannot_be_are_refused_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    process = Process()
    with pytest.raises(UsageError, match="'speed' of strategy 'darts'"):
        measured(monkeypatch, process, "nasp,x=darts speed=1")
    assert process.asked == []


def test_equal_time_is_calibrated_once_and_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "quality.json"
    timed = TINY.model_copy(update={"budget": Budget(seconds=100)})
    process = Process()
    report = measured(monkeypatch, process, "nasp,random", path, settings=timed)
    # A step is 0.1 s, an epoch on all data has 40: 25 epochs in 100 s.
    assert process.asked[:2] == [("nasp", 0, 8, 1 / 8), ("nasp", 0, 25, 1 / 25)]
    assert process.asked[2:] == [
        ("nasp", 0, 25, 1.0), ("random", 0, 1, 1.0), ("nasp", 1, 25, 1.0), ("random", 1, 1, 1.0)
    ]  # fmt: skip
    assert report["calibration"]["nasp"]["epochs"] == 25
    assert set(report["calibration"]["nasp"]) == {"epochs", "selection_epochs", "costs"}
    assert [row["epochs"] for row in report["rows"]] == [25, 0]
    later = Process()
    measured(monkeypatch, later, "nasp", path, seeds=3, settings=timed)
    assert later.asked == [("nasp", 2, 25, 1.0)]


def test_a_search_whose_steps_are_cheaper_the_longer_it_is_gets_its_time() -> None:
    asked: list[int] = []

    def search(request: SearchRequest) -> SearchSample:
        epochs = request.job.search.epochs
        asked.append(epochs)
        step = seconds(0.1 if epochs < 20 else 0.05 if epochs < 40 else 0.025)
        phase = Phase(
            name="epoch",
            begun=seconds(0),
            ends=[seconds(each + 1) for each in range(epochs)],
            steps=[step] * epochs,
        )
        return sample(epochs=epochs, phases=[phase])

    nasp = contestants_of(["nasp"], [])[0]
    assert calibration.calibrate(nasp, TINY, 100, search)["epochs"] == 100
    assert asked == [8, 25, 50, 100]
    asked.clear()
    assert calibration.calibrate(nasp, TINY, 40, search)["epochs"] == 10
    assert asked == [8, 10]


def test_a_selection_is_paid_from_the_budget() -> None:
    ranking = Phase(name="re-ranking", begun=seconds(2), ends=[seconds(3)], steps=[seconds(0.1)])
    training = Phase(
        name="selection epoch",
        begun=seconds(3.5),
        ends=[seconds(4.5), seconds(5.5)],
        steps=[seconds(0.1)] * 2,
    )
    found = sample(selection=(ranking, training))
    config = SearchConfig(select="train", selection=SelectConfig(epochs=2, rerank_batches=8))
    cost = cost_of(found, "wall", config, iterative=True)
    # On a tenth of the data: two epochs of 40 steps of 0.1 s; 8 batches where there were 4.
    assert cost == Cost(epochs=2, search=8.0, ranking=3.0, selection_epoch=10.0, selection_epochs=2)
    assert cost.search_epochs(100) == int((100 - 3 - 20) / 4)
    assert cost.search_epochs(1) == 1
    assert cost.training_epochs(100) == int((100 - 8 - 3) / 10)
    assert cost_of(found, "cpu", config, iterative=True).search == 4.0


def test_a_fallback_leaves_the_search_all_of_the_budget() -> None:
    config = SearchConfig(fallback="train", selection=SelectConfig(epochs=12))
    cost = cost_of(sample(), "wall", config, iterative=True)
    assert cost == Cost(epochs=2, search=8.0)
    assert cost.search_epochs(100) == 25


def test_who_may_train_networks_is_known_with_the_data_s_defaults() -> None:
    may = {
        text: TINY.may_train(parse_contestant(text))
        for text in (
            *("nasp", "darts", "x=nasp fallback=none", "y=random select=train", "params"),
            *("paper=nasp uniform=0 average=0", "points=nasp mean_of=points"),
        )
    }
    assert may == {
        "nasp": True,
        "darts": False,
        "x=nasp fallback=none": False,
        "y=random select=train": True,
        "params": False,
        "paper=nasp uniform=0 average=0": False,
        "points=nasp mean_of=points": False,
    }


def test_a_stopwatch_starts_with_the_first_loop() -> None:
    watch = Stopwatch(lambda: None)  # type: ignore[arg-type, return-value]
    edges = Architecture({"a": "b"})
    for phase in ("epoch", "re-ranking"):
        watch(Started(0, 1, 3, phase=phase))
        for step in range(3):
            watch(Stepped(1, step + 1, {}))
        watch(EpochEnded(1, {}, 0.0, edges))
    search, ranking = watch.phases
    assert [search.name, ranking.name] == ["epoch", "re-ranking"]
    assert 0 <= search.begun.wall <= search.ends[0].wall <= ranking.begun.wall
    assert len(search.steps) == len(search.ends) == 1
    assert watch.derived == [{"a": "b"}]


def test_a_search_in_this_process() -> None:
    (contestant,) = contestants_of([], ["t=nasp average=0 select=train selection.epochs=2"])
    job = TINY.job(contestant, seed=3, epochs=2, selection_epochs=0)
    found = run_search(SearchRequest(job=job))
    again = run_search(SearchRequest(job=job))
    assert found.architecture == again.architecture
    assert found.derived == again.derived
    assert len(found.derived) == 2
    assert [p.name for p in found.phases] == ["epoch", "re-ranking", "selection epoch"]
    assert found.selection is not None
    assert found.selection["contenders"][0]["edges"] == found.architecture
    assert (found.steps_per_epoch, found.full_steps_per_epoch) == (3, 3)
    marks = [end.wall for phase in found.phases for end in (phase.begun, *phase.ends)]
    assert marks == sorted(marks)
    assert marks[-1] <= found.total.wall
    assert found.total.cpu > 0


def test_a_share_of_the_data() -> None:
    (contestant,) = contestants_of([], ["t=nasp average=0 select=train"])
    settings = TINY.model_copy(update={"data": {"name": "digits", "batch_size": 16}})
    job = settings.job(contestant, seed=0, epochs=1, selection_epochs=0)
    found = run_search(SearchRequest(job=job, share=1 / 8))
    # Halves of 719 images; an eighth is 90, five whole batches.
    assert (found.steps_per_epoch, found.full_steps_per_epoch) == (5, 44)
    assert (found.batches, found.full_batches) == (5, 44)
    # A single epoch leaves a single architecture: its training is timed all the same.
    assert found.phases[-1].name == "selection epoch"


def test_epochs_of_so_many_steps() -> None:
    (contestant,) = contestants_of(["nasp"], [])
    budget = Budget(epochs=2, epoch_steps=5)
    job = TINY.model_copy(update={"budget": budget}).job(contestant, 0, 2, 0)
    found = run_search(SearchRequest(job=job))
    assert (found.steps_per_epoch, found.full_batches, len(found.derived)) == (5, 3, 2)
    part = run_search(SearchRequest(job=job, share=0.8))
    assert (part.steps_per_epoch, part.full_steps_per_epoch) == (4, 5)
    assert "epoch_steps" not in TINY.shared()["budget"], "files of before have none"


def test_parameterless() -> None:
    free = without_parameters(find_space("nasbench201-3"))
    assert {candidate for _, candidate in free} == {"none", "skip_connect", "avg_pool_3x3"}
    assert len(free) == 9


def test_comparisons_need_the_reference() -> None:
    assert comparisons([], "nasp") == []


def test_settings_come_from_the_table_where_nobody_says_otherwise(tmp_path: Path) -> None:
    settings, table = contest_settings(None, None, None, {}, {}, {})
    assert table.name == "embedded digits"
    assert (settings.data["name"], settings.space) == ("digits", "nasbench201-3")
    assert (settings.channels, settings.cells) == (4, 1)
    assert settings.budget.epochs == 60
    settings, _ = contest_settings(None, None, None, {"seconds": 9.0}, {"channels": 8}, {})
    assert (settings.budget, settings.channels) == (Budget(seconds=9.0), 8)
    path = tmp_path / "table.csv"
    path.write_text("arch,test_accuracy\n|none~0|+|none~0|none~1|,10\n")
    with pytest.raises(UsageError, match=r"table\.csv does not say on which data: give --data"):
        contest_settings(str(path), None, "nasbench201-3", {}, {}, {})
    with pytest.raises(UsageError, match="either epochs or seconds"):
        contest_settings(None, None, None, {"seconds": 9.0, "epochs": 3}, {}, {})
    with pytest.raises(UsageError, match="'clock' of the budget"):
        contest_settings(None, None, None, {"epochs": 3, "clock": "sun"}, {}, {})


def test_bands_and_plot(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    report = measured(monkeypatch, Process(), "nasp,darts")
    (nasp, _), (darts, result) = quality_bands(report, "cpu")
    assert (nasp.label, nasp.x) == ("nasp", [0.5, 1.0])
    assert result == (1.0, TABLE.accuracy(DEAD))
    assert darts.middle == [TABLE.accuracy(DEAD), TABLE.accuracy(GOOD)]
    (only,) = quality_bands(report, "cpu", ["darts", "gdas"])
    assert only == (darts, result)
    draw_quality(report, "wall", tmp_path / "q.svg")
    assert (tmp_path / "q.svg").read_bytes().startswith(b"<?xml")


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")  # that of fidelity has a process each, by the same way
def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "quality.json"
    arguments = (
        "nasp bench quality --strategies nasp --seeds 1 --epochs 1 --subset 48 --batch-size 16"
        f" --channels 2 --threads 1 --json {path} --plot {tmp_path / 'q.png'} --contestant"
    )
    monkeypatch.setattr(sys, "argv", [*arguments.split(), "control=random select=train"])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 0
    report = json.loads(path.read_text())
    assert [row["name"] for row in report["rows"]] == ["nasp", "control", "params"]
    assert all(row["table_accuracy"]["mean"] >= 10 for row in report["rows"])
    assert all(row["seconds"] > 0 for row in report["rows"])
    assert (tmp_path / "q.png").read_bytes().startswith(b"\x89PNG")
    said = capsys.readouterr()
    assert "nasp against control" in said.out
    assert "nasp against params" in said.out
    assert "2/3  control, seed 0" in said.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--strategies", "nsap"], "Unknown strategy 'nsap'"),
        (["--table", "none.csv"], "Cannot read the table none.csv"),
        (["--epochs", "2", "--seconds", "3"], "either epochs or seconds"),
        (["--data", "cifar10"], "no embedded table for 'cifar10'"),
        (["--plot", "q.gif"], "end it in"),
        (["--contestant", "x=random select=rerank"], "random"),
    ],
)
def test_mistakes_end_in_one_sentence(
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["nasp", "bench", "quality", *arguments])
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code in (1, 2)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert message in said[0]
