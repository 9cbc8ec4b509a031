"""Tables of accuracies: the embedded ones, files of every kind, and what is no table."""

from __future__ import annotations

import json
import statistics
import sys
from importlib import resources
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from nasp.bench.tables.accuracies import EMBEDDED, AccuracyTable, embedded, open_table, read_json
from nasp.errors import NaspError, UsageError
from nasp.spaces import find_space
from nasp.supernet.architecture import Architecture

CELL = "|nor_conv_3x3~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|"
OTHER = CELL.replace("nor_conv_3x3", "avg_pool_3x3")
SMALL = find_space("nasbench201-3")


@pytest.mark.parametrize("data", EMBEDDED)
def test_embedded_tables_hold_every_cell_and_tell_them_apart(data: str) -> None:
    table = embedded(data)
    assert table.space == "nasbench201-3"
    assert len(table.accuracies) == 5**3
    assert table.made_with["data"] == data
    assert {table.made_with["channels"], table.made_with["cells"]} <= {1, 4, 8}
    nothing = table.accuracy(SMALL.parse("|none~0|+|none~0|none~1|"))
    convolutions = table.accuracy(SMALL.parse("|nor_conv_3x3~0|+|nor_conv_3x3~0|skip_connect~1|"))
    pools = table.accuracy(SMALL.parse("|avg_pool_3x3~0|+|avg_pool_3x3~0|avg_pool_3x3~1|"))
    assert nothing < 11 < pools < convolutions <= table.best


def test_the_digits_table_has_more_signal_than_noise() -> None:
    file = resources.files("nasp.bench") / "tables"
    rows = json.loads((file / "nasbench201-3-digits.json").read_text())["rows"]
    alive = [row["test_accuracy"] for row in rows if row["test_accuracy"]["mean"] > 15]
    between = statistics.variance(accuracy["mean"] for accuracy in alive)
    noise = statistics.fmean(a["std"] ** 2 / len(a["seeds"]) for a in alive)
    assert between > 4 * noise
    assert len(alive) > 100


def test_percentiles_count_ties_half() -> None:
    table = AccuracyTable("t", "nasbench201", {"a": 1.0, "b": 2.0, "c": 2.0, "d": 3.0})
    assert table.best == 3.0
    assert [table.percentile(a) for a in (1.0, 2.0, 3.0, 2.5)] == [12.5, 50.0, 87.5, 75.0]


def test_a_csv_file(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(f"arch,test_accuracy,params_m\n{CELL},91.5,0.1\n{OTHER},54.25,0.1\n")
    table = open_table(str(path), None, None)
    assert table.accuracies == {CELL: 91.5, OTHER: 54.25}
    assert (table.space, table.best, table.made_with) == ("nasbench201", 91.5, {})
    found = find_space("nasbench201").parse(OTHER)
    assert table.accuracy(found) == 54.25
    lacking = Architecture({**found.edges, "cell/5": "skip_connect"}, "nasbench201")
    with pytest.raises(NaspError, match="lacks the cell"):
        table.accuracy(lacking)
    with pytest.raises(UsageError, match=r"Line 2 .* no NAS-Bench-201 cell"):
        open_table(str(path), None, "nasbench201-3")


def test_a_digest_tells_tables_apart() -> None:
    first = AccuracyTable("x", "nasbench201", {"a": 1.0, "b": 2.0})
    assert first.digest == AccuracyTable("y", "nasbench201", {"b": 2.0, "a": 1.0}).digest
    assert first.digest != AccuracyTable("x", "nasbench201", {"a": 1.0, "b": 2.5}).digest


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("arch,accuracy\n", "no column 'test_accuracy'"),
        ("arch,test_accuracy\n", "is empty"),
        (f"arch,test_accuracy\n{CELL},high\n", "Line 2 .*high"),
        (f"arch,test_accuracy\n{CELL},nan\n", "Line 2 .*no percentage"),
        (f"arch,test_accuracy\n{CELL},1\n{CELL}\n", "Line 3"),
        ("arch,test_accuracy\n|x~0|,1\n", "Line 2 .*no NAS-Bench-201 cell"),
    ],
)
def test_what_is_no_table_in_csv(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        open_table(str(path), "digits", None)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"settings": {"space": "mars"}, "rows": []}', "\0"]
)
def test_what_is_no_table_in_json(text: str) -> None:
    with pytest.raises(UsageError, match=r"^x\.json is no table of nasp bench table"):
        read_json(text, "x.json")


def test_tables_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(NaspError, match=r"Cannot read the table .*none\.csv: No such file"):
        open_table(str(tmp_path / "none.csv"), None, None)
    with pytest.raises(UsageError, match=r"no embedded table for 'cifar10'.*--table"):
        open_table(None, "cifar10", None)
    with pytest.raises(UsageError, match="is of the space 'nasbench201-3', not 'darts'"):
        open_table(None, "digits", "darts")
    (tmp_path / "latin.csv").write_bytes(b"arch,test_accuracy\n\xe9")
    with pytest.raises(NaspError, match="not UTF-8"):
        open_table(str(tmp_path / "latin.csv"), None, None)


class Api:
    """Answers as NATS-Bench's package does, for two cells."""

    cells = (CELL, OTHER)

    def __len__(self) -> int:
        return len(self.cells)

    def arch(self, index: int) -> str:
        return self.cells[index]

    def get_more_info(self, index: int, data: str, *, hp: str, is_random: bool) -> dict[str, Any]:
        assert (data, hp, is_random) == ("cifar10", "200", False)
        return {"test-accuracy": (93.5, 10.0)[index]}


def test_nats_bench_through_its_own_package(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def create(path: str, space: str, fast_mode: bool, verbose: bool) -> Api:
        asked.append((path, space, fast_mode, verbose))
        return Api()

    package: Any = ModuleType("nats_bench")
    package.create = create
    monkeypatch.setitem(sys.modules, "nats_bench", package)
    assert open_table("nats:folder", None, None).accuracies == {CELL: 93.5, OTHER: 10.0}
    open_table("nats:one.pickle.pbz2", None, None)
    assert asked == [
        ("folder", "tss", True, False),
        ("one.pickle.pbz2", "tss", False, False),
    ]


def test_nats_bench_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nats_bench", None)
    with pytest.raises(NaspError, match=r"pip install 'nasp-torch\[nats\]'"):
        open_table("nats:folder", None, None)

    def create(*_: object, **__: object) -> Api:
        raise FileNotFoundError("folder/meta.pickle.pbz2")

    monkeypatch.setitem(sys.modules, "nats_bench", SimpleNamespace(create=create))  # type: ignore[arg-type]
    with pytest.raises(NaspError, match=r"cannot read folder .*meta.pickle"):
        open_table("nats:folder", None, None)
