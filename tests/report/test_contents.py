"""What a report says, before it is drawn: read from run folders of every sort."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nasp.errors import UsageError
from nasp.report.beside import beside_each_other
from nasp.report.by_epoch import curves, figures_of
from nasp.report.charts import Lines
from nasp.report.contents import Contents, contents_of
from nasp.report.curves import curves_of
from nasp.report.facts import health, settings_of, warnings_of
from nasp.report.moves import read_moves
from nasp.report.read import read_runs
from nasp.report.standing import spreads
from nasp.report.sweep import Sweep
from nasp.runs.folder import RunFolder, load_tensors
from nasp.spaces import find_space
from nasp.spaces.sampling import candidates_of
from nasp.supernet.architecture import Architecture


@pytest.fixture(scope="module")
def first(runs: Path) -> Contents:
    return contents_of(RunFolder.open(runs / "first"))


def test_a_search_says_what_it_was_and_found(runs: Path, first: Contents) -> None:
    found = Architecture.load(runs / "first" / "architecture.json")
    assert first.is_finished
    assert first.lead.startswith("A search by nasp in nasbench201 on digits: 3 epochs in ")
    assert first.lead.endswith("seed 0.")
    assert first.notation == find_space("nasbench201").notation(found)
    assert first.moves.stops[-1].path == dict(found.edges)
    (bound,) = first.bounds
    assert (bound.cost, bound.is_met) == ("parameters", True)
    assert first.settings["search"]["at_most.parameters"] == "150000"
    assert {fact.name for fact in first.origin} >= {"nasp", "torch", "python"}
    assert first.selection is not None
    assert first.selection.rows[0][1] == first.notation
    assert len(first.selection.rows) == 20
    assert first.selection.title.endswith("; the first 20 of 32, selection.json has all")


def test_the_alphas_and_the_path_of_every_epoch_are_there(runs: Path, first: Contents) -> None:
    lines = RunFolder.open(runs / "first").metrics()
    assert [stop.label for stop in first.moves.stops] == ["epoch 1", "epoch 2", "epoch 3", "found"]
    assert [s.path for s in first.moves.stops[:-1]] == [line["architecture"] for line in lines]
    tensors = load_tensors(runs / "first" / "alphas.safetensors")
    alphas = next(grid for grid in first.moves.grids if grid.title == "Alphas")
    assert alphas.entries == tensors["cell"].tolist()
    assert alphas.edges == [f"cell/{edge}" for edge in range(6)]
    assert alphas.candidates == list(find_space("nasbench201").candidates)  # type: ignore[attr-defined]
    assert first.moves.candidates["cell/0"] == alphas.candidates


def test_costs_are_told_beside_random_networks(first: Contents) -> None:
    assert [row.cost for row in first.costs] == ["parameters", "flops"]
    for row, spread in zip(first.costs, spreads(first.costs), strict=True):
        below = sum(other < spread.here for other in spread.others) / len(spread.others)
        assert below == pytest.approx(row.cheaper)
    assert any("--latency" in gap for gap in first.missing)


def test_a_training_is_told_beside_its_rival(first: Contents) -> None:
    assert first.training is not None
    assert [row[0] for row in first.training.table.rows] == ["found", "random cell 1"]
    assert first.training.curves.series.keys() == {"found", "random-1"}
    assert first.facts == first.training.facts
    assert "parameters" in {fact.name for fact in first.facts}


def test_a_killed_search_shows_all_that_its_checkpoint_holds(runs: Path, first: Contents) -> None:
    killed = contents_of(RunFolder.open(runs / "killed"))
    assert not killed.is_finished
    assert "3 epochs of 3" in killed.lead
    assert killed.asked.go_on == f"nasp resume {runs / 'killed'}"
    assert killed.moves.stops == first.moves.stops[:-1]
    assert killed.moves.grids == first.moves.grids
    assert killed.costs == []
    assert any("not finished" in gap for gap in killed.missing)


def test_a_search_that_has_only_begun_is_told(runs: Path, tmp_path: Path) -> None:
    begun = RunFolder.create(tmp_path / "begun", RunFolder.open(runs / "first").config())
    told = contents_of(begun)
    assert "0 epochs of 3" in told.lead
    assert told.curves == []
    assert told.missing[-1] == "Paths and curves: no epoch is done yet."


def test_random_search_has_a_result_and_no_alphas(runs: Path) -> None:
    told = contents_of(RunFolder.open(runs / "random"))
    assert told.moves.grids == []
    assert told.health == []
    assert told.moves.stops[-1].label == "found"
    assert len(told.moves.candidates["cell/0"]) == 5
    assert any("moves none" in gap for gap in told.missing)


def test_a_module_of_ones_own_has_its_choices_and_its_call(runs: Path) -> None:
    told = contents_of(RunFolder.open(runs / "own"))
    assert told.moves.candidates == {"0": ["<b>odd</b>", "tanh"], "1": ["linear", "skip"]}
    call = "nasp.search(network, train_loader, val_loader, epochs=4, settings={'average': 0.0}, "
    assert told.asked.again == f"{call}run='{runs / 'own'}')"
    assert [grid.edges for grid in told.moves.grids] == [["0"], ["1"]]
    training = contents_of(RunFolder.open(runs / "own-train"))
    assert training.training is not None
    assert training.moves.stops == []


def test_an_older_folder_shows_what_was_seen(runs: Path, tmp_path: Path) -> None:
    old = RunFolder.create(tmp_path / "old", RunFolder.open(runs / "own").config())
    for line in RunFolder.open(runs / "own").metrics():
        old.append_metrics(line)
    moves = read_moves(old, None, old.metrics())
    seen = {stop.path["1"] for stop in moves.stops}
    assert set(moves.candidates["1"]) == seen
    assert moves.grids == []


def test_figures_and_curves_say_the_same() -> None:
    lines = [
        {"epoch": 1, "train_loss": 2.0, "val_accuracy": 0.25, "lr": 0.1, "changed_edges": 3},
        {"epoch": 2, "train_loss": 1.0, "val_accuracy": 0.5, "lr": 0.1, "changed_edges": 0},
    ]
    charts = curves(lines)
    assert charts == [
        Lines("Accuracy", "epoch", "accuracy", [1, 2], {"validation": [0.25, 0.5]}, True),
        Lines("Loss", "epoch", "loss", [1, 2], {"training": [2.0, 1.0]}),
        Lines("Edges that changed", "epoch", "edges", [1, 2], {"in the epoch": [3, 0]}),
    ]
    table = figures_of(charts)
    assert table.rows[0] == ["1", "25.00%", "2", "3"]
    assert len(table.headings) == 4


def test_warnings_of_a_kind_are_told_once_with_their_epochs() -> None:
    said = [{"epoch": e, "warnings": [f"It collapses: {e} %."]} for e in (1, 2, 3, 5)]
    lines = [*said[:3], {"epoch": 4}, said[3], {"epoch": 6, "warnings": ["It is new."]}]
    (old, new) = warnings_of(lines)
    assert old == ("It collapses: 5 %.", "epochs 1–3, 5", False)
    assert new == ("It is new.", "epoch 6", True)


def test_health_is_told_in_words() -> None:
    line = {
        **{"changed_edges": 2, "edges": 6, "flips_per_step": 0.5, "margin_mean": 0.25},
        **{"margin_min": 0.0, "parameterless": 0.5, "agreement": None},
    }
    told = dict(health(line))
    assert told["Settled"].startswith("2 of 6 edges changed in the last epoch")
    assert "0.25 in the mean, and by 0 where" in told["Decided"]
    assert told["Working"].startswith("After the last epoch 50% of the edges")
    assert "Steady" not in told
    assert "alike by 0.80" in dict(health({**line, "agreement": 0.8}))["Steady"]
    assert "Knowing" not in told
    told = dict(health({**line, "size_tau": 0.2}, "largest"))
    assert "do by 0.20" in told["Knowing"]
    assert told["Decided by"].startswith("The largest network")


def test_runs_side_by_side_tell_what_differs(runs: Path) -> None:
    read = read_runs([runs / "first", runs / "killed", runs / "own"])
    beside = beside_each_other([run for run in read if isinstance(run, Contents)])
    assert beside.settings.headings == ["setting", "first", "killed", "own"]
    differing = {row[0]: row[1:] for row in beside.settings.rows}
    assert differing["epochs"] == ["3", "3", "4"]
    assert "momentum" not in differing
    assert [row[1] for row in beside.results.rows] == [
        *("search", "search (not finished)", "search"),
    ]
    loss = next(chart for chart in beside.curves if chart.title == "Validation loss")
    assert loss.series.keys() == {"first", "killed", "own"}
    assert loss.series["first"][3] is None  # it has one epoch less


def test_runs_of_one_name_are_told_apart(runs: Path, tmp_path: Path) -> None:
    for part in ("a", "b"):
        shutil.copytree(runs / "own-train", tmp_path / part / "train")
    paths = [tmp_path / "a" / "train", tmp_path / "b" / "train"]
    assert [run.name for run in read_runs(paths)] == [str(path) for path in paths]


def test_a_sweep_is_told_point_by_point(runs: Path) -> None:
    (sweep,) = read_runs([runs / "sweep"])
    assert isinstance(sweep, Sweep)
    assert [point.name for point in sweep.points] == [
        "complexity=1, seed 0",
        "complexity=0, seed 0",
    ]
    assert sweep.chart.front == [(100.0, 0.2), (200.0, 0.1)]
    assert sweep.chart.groups["random"] == [(150.0, 0.3)]
    assert sweep.points[0].facts[0] == ("parameters", "100K")
    for point in sweep.points:
        assert find_space("nasbench201").parse(point.architecture).edges == point.path
    (runs / "sweep" / "front.png").rename(runs / "sweep" / "front")
    with pytest.raises(UsageError, match=f"not finished. Next: nasp resume {runs / 'sweep'}"):
        read_runs([runs / "sweep"])
    (runs / "sweep" / "front").rename(runs / "sweep" / "front.png")


def test_settings_are_those_of_the_folder(runs: Path) -> None:
    config = json.loads((runs / "first" / "config.json").read_text())["job"]
    told = settings_of(RunFolder.open(runs / "first"))
    assert told[""]["channels"] == str(config["channels"])
    assert told["search"].keys() >= {"seed", "epochs", "strategy"}
    assert "versions" not in told


def test_a_picture_rings_the_result_and_not_the_last_epoch(runs: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs / "first", run)
    found = json.loads((run / "architecture.json").read_text())
    edge, kept = next(iter(found["edges"].items()))
    other = "skip_connect" if kept != "skip_connect" else "nor_conv_1x1"
    found["edges"][edge] = other
    (run / "architecture.json").write_text(json.dumps(found))
    candidates = candidates_of(find_space("nasbench201"))
    for heat in curves_of(RunFolder.open(run), candidates).heats:
        row = heat.edges.index(edge)
        assert heat.chosen[row] == heat.candidates.index(other)
