"""A results file that grows and is taken up again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nasp.bench.results import Results
from nasp.errors import NaspError, UsageError


def total(measurements: Mapping[str, Any]) -> dict[str, Any]:
    return {"total": sum(measurements.values())}


def results(path: Path | None, **settings: Any) -> Results:
    return Results(path, "sums", {"batch": 4, "shape": (3, 3), **settings}, total)


def test_a_second_call_goes_on_where_the_first_stopped(tmp_path: Path) -> None:
    path = tmp_path / "new" / "sums.json"
    first = results(path)
    assert first.missing(["a", "b", "a"]) == ["a", "b"]
    first.add("a", 2)
    assert json.loads(path.read_text())["total"] == 2
    second = results(path)
    assert second.missing(["a", "b", "c"]) == ["b", "c"]
    second.add("c", 5)
    content = json.loads(path.read_text())
    assert content["measurements"] == {"a": 2, "c": 5}
    assert content["total"] == 7
    assert content["settings"] == {"batch": 4, "shape": [3, 3]}
    kept_apart = ("format", "begun", "measurements")
    assert {k: v for k, v in content.items() if k not in kept_apart} == second.report()


def test_what_failed_is_told_and_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "sums.json"
    first = results(path)
    first.add("a", 1)
    first.raise_failures()
    first.fail("b", "no memory.")
    assert first.missing(["a", "b"]) == []
    with pytest.raises(NaspError, match=r"^1 could not be measured \(b: no memory\)\.$"):
        first.raise_failures()
    first.fail("c", "no time.")
    first.fail("d", "no memory.")
    with pytest.raises(NaspError, match=r"^3 .* \(b, d: no memory; c: no time\)\.$"):
        first.raise_failures()
    failed = json.loads(path.read_text())["failed"]
    assert failed[0] == {"name": "b", "reason": "no memory."}
    second = results(path)
    assert second.missing(["a", "b"]) == ["b"]
    second.add("b", 1)
    assert json.loads(path.read_text())["failed"] == []


def test_measurements_stand_as_they_begun_whichever_ends_first(tmp_path: Path) -> None:
    first = results(tmp_path / "sums.json")
    for key in ("a", "b", "c"):
        first.begin(key)
    first.add("c", 3)
    first.add("b", 2)
    assert list(first.measurements) == ["b", "c"]
    second = results(tmp_path / "sums.json")
    for key in ("a", "d"):
        second.begin(key)
    second.add("d", 4)
    second.add("a", 1)
    assert list(second.measurements) == ["a", "b", "c", "d"]


def test_without_a_file_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    alone = results(None)
    alone.add("a", 1)
    assert alone.report()["total"] == 1
    assert list(tmp_path.iterdir()) == []
    assert "--json FILE" in alone.stopped(3)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("{", NaspError, "cannot be read as results"),
        ("[1]", UsageError, "holds no results of this command"),
        ('{"rows": []}', UsageError, "holds no results of this command"),
        ('{"bench": "cost", "measurements": {}}', UsageError, "holds no results of this command"),
        ('{"bench": "sums", "measurements": {}}', UsageError, "another version of nasp"),
        ('{"bench": "sums", "format": 2, "measurements": {}}', UsageError, "none are said"),
        (
            '{"bench": "sums", "format": 2, "measurements": {},'
            ' "settings": {"batch": 8, "shape": [3, 3]}}',
            UsageError,
            r"other settings \(batch 8, not 4\): give those, or another file",
        ),
    ],
)
def test_a_file_of_something_else_is_refused_and_left_as_it_was(
    content: str, error: type[NaspError], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "sums.json"
    path.write_text(content)
    with pytest.raises(error, match=message):
        results(path)
    assert path.read_text() == content
