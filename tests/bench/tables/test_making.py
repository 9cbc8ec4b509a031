"""``nasp bench table``: every cell once a seed, whatever stops it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from nasp.bench.tables import making as table
from nasp.bench.tables.making import TableSettings, make_table
from nasp.cli import main
from nasp.domains.images.data import ImageConfig, read_images
from nasp.errors import UsageError
from nasp.runs.interruption import Interrupted
from nasp.runs.pool import InTurn, Pool
from nasp.runs.pool.processes import Processes
from nasp.spaces import find_space
from nasp.spaces.sampling import all_architectures
from nasp.training.events import Event, Measuring, nobody

SPACE = find_space("nasbench201-3")
TINY = TableSettings(
    data=ImageConfig(name="digits", subset=32, batch_size=16), channels=2, epochs=1, device="cpu"
)


def test_all_architectures_are_every_one_once() -> None:
    cells = [SPACE.notation(cell) for cell in all_architectures(SPACE)]
    assert len(set(cells)) == len(cells) == 5**3
    assert cells[:2] == ["|none~0|+|none~0|none~1|", "|none~0|+|none~0|skip_connect~1|"]
    with pytest.raises(UsageError, match=r"'darts' cannot be listed.*nasbench201-3"):
        all_architectures(find_space("darts"))


@pytest.fixture
def few_cells(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the space have 10 cells."""
    cells = list(all_architectures(SPACE))[:10]
    monkeypatch.setattr(table, "all_architectures", lambda _: iter(cells))
    return [SPACE.notation(cell) for cell in cells]


class Trainer:
    """Trains nothing; its accuracy tells the seed, and it can be told to be stopped."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.done: list[tuple[str, int]] = []
        self.stop_after = stop_after

    def __call__(
        self, cell: Any, settings: TableSettings, images: object, seed: int
    ) -> dict[str, float]:
        if len(self.done) == self.stop_after:
            raise Interrupted
        self.done.append((SPACE.notation(cell), seed))
        return {"test_accuracy": 90.0 + seed, "test_loss": 0.5, "parameters": 7, "seconds": 1.0}


def test_a_stopped_table_is_a_fair_sample_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few_cells: list[str]
) -> None:
    path = tmp_path / "table.json"
    first, second = Trainer(stop_after=13), Trainer()
    monkeypatch.setattr(table, "train_cell", first)
    with pytest.raises(Interrupted, match=r"7 measurements to go.*table\.json"):
        make_table(TINY, 2, path, nobody)
    monkeypatch.setattr(table, "train_cell", second)
    heard: list[Event] = []
    report = make_table(TINY, 2, path, heard.append).report()
    seen = [event for event in heard if isinstance(event, Measuring)]
    done = first.done + second.done
    cells = [name for name, _ in done]
    assert [seed for _, seed in done] == [0] * 10 + [1] * 10
    assert cells[:10] == cells[10:]
    assert set(cells[:10]) == set(few_cells)
    assert cells[:10] != few_cells
    assert (seen[0].done, seen[0].total, seen[-1].done) == (13, 20, 19)
    assert len(report["rows"]) == 10
    assert report["rows"][0]["test_accuracy"] == {
        "mean": 90.5, "std": pytest.approx(0.5**0.5), "best": 91.0, "worst": 90.0,
        "seeds": [90.0, 91.0],
    }  # fmt: skip
    assert report["settings"]["epochs"] == 1
    with pytest.raises(UsageError, match="other settings"):
        make_table(TINY.model_copy(update={"epochs": 2}), 2, path, nobody)


def test_a_cell_is_trained_and_tested_the_same_each_time() -> None:
    images = read_images(TINY.data)
    cell = SPACE.parse("|nor_conv_3x3~0|+|skip_connect~0|none~1|")
    first, again = (table.train_cell(cell, TINY, images, seed=1) for _ in range(2))
    del first["seconds"], again["seconds"]
    assert first == again
    other = table.train_cell(cell, TINY, images, seed=2)
    assert other["test_loss"] != first["test_loss"]
    # 359 test images, each counted.
    assert (first["test_accuracy"] * 359 / 100) == pytest.approx(
        round(first["test_accuracy"] * 359 / 100), abs=1e-3
    )


@pytest.mark.usefixtures("few_cells")
def test_two_at_once_make_the_same_table_in_the_same_order(tmp_path: Path) -> None:
    def table_by(pool: Pool) -> Any:
        results = make_table(TINY, 1, tmp_path / f"{type(pool).__name__}.json", nobody, pool)
        results.raise_failures()
        for value in results.measurements.values():
            del value["seconds"], value["wall_seconds"]
        return list(results.measurements.items())

    assert table_by(Processes(2)) == table_by(InTurn())


def test_a_cell_that_passes_nothing_on_is_trained_like_all_others() -> None:
    cell = SPACE.parse("|none~0|+|none~0|none~1|")
    found = table.train_cell(cell, TINY, read_images(TINY.data), seed=0)
    assert 8 < found["test_accuracy"] < 12


@pytest.mark.usefixtures("few_cells")
def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(table, "train_cell", Trainer())
    path = tmp_path / "table.json"
    monkeypatch.setattr(
        sys, "argv", ["nasp", "bench", "table", "--seeds", "2", "--json", str(path)]
    )
    with pytest.raises(SystemExit) as exit_:
        main()
    assert exit_.value.code == 0
    said = capsys.readouterr()
    assert "10 cells, 2 seeds: best 90.50 %" in said.out
    assert said.err == ""
    content = json.loads(path.read_text())
    assert content["settings"]["data"]["subset"] == 300
    assert len(content["measurements"]) == 20
