"""The page as text: it is written, whole in itself, and says nothing in HTML that was not ours."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from nasp.errors import UsageError
from nasp.report.charts import Dots, Lines, Spread, drawn
from nasp.report.contents import contents_of
from nasp.report.page import colours, edge_charts, first_grids, moving, next_calls
from nasp.report.tables import table_of
from nasp.runs.folder import RunFolder

Call = Callable[..., str]
VOID = {"meta", "link", "input", "br"}


class Balance(HTMLParser):
    """Checks that every element that is opened is closed, and no identifier is there twice."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.feed(page)
        assert not self.open
        assert len(set(self.ids)) == len(self.ids)
        assert set(self.targets) <= set(self.ids)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.note(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.note(attrs)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def note(self, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [str(given["id"])] if "id" in given else []
        if str(given.get("href", "")).startswith("#"):
            self.targets.append(str(given["href"])[1:])


@pytest.fixture(scope="module", autouse=True)
def _draws() -> None:
    pytest.importorskip("vl_convert", reason="the extra 'report' draws the charts")


@pytest.fixture(scope="module")
def own_page(runs: Path, call: Call) -> str:
    call("report", runs / "own")
    return (runs / "own" / "report.html").read_text("utf-8")


@pytest.mark.parametrize("name", ["first", "first/train", "killed", "random", "own-train", "sweep"])
def test_every_sort_of_run_has_a_page_that_asks_for_nothing(
    runs: Path, call: Call, name: str
) -> None:
    said = call("report", runs / name)
    assert said == f"Written: {runs / name / 'report.html'}\n"
    page = (runs / name / "report.html").read_text("utf-8")
    Balance(page)
    assert "default-src 'none'" in page
    outside = re.findall(r'(?:src|href)="([^"#]*)|url\(', page)
    assert set(outside) <= {"", "data:,"}
    assert not re.search(r"https?://(?!www\.w3\.org/)", page)
    assert "<svg" in page


def test_names_from_outside_are_text(own_page: str) -> None:
    Balance(own_page)
    assert "<b>odd" not in own_page
    assert "&lt;b&gt;odd" in own_page


def test_several_runs_share_a_page(runs: Path, call: Call, tmp_path: Path) -> None:
    call("report", runs / "own", runs / "own-train", runs / "sweep", "--to", tmp_path / "all.html")
    page = (tmp_path / "all.html").read_text("utf-8")
    Balance(page)
    tabs = re.findall(r'<button[^>]* role="tab"[^>]*>([^<]*)<', page)
    assert tabs == ["Side by side", "own", "own-train", "sweep"]


def test_the_scrubber_has_every_epoch(runs: Path, own_page: str) -> None:
    match = re.search(r'<script type="application/json">(.*?)</script>', own_page, re.S)
    assert match is not None
    content = json.loads(match[1])
    told = contents_of(RunFolder.open(runs / "own"))
    assert content == moving(told)
    assert [stop["label"] for stop in content["stops"]][-2:] == ["epoch 4", "found"]
    assert len(content["grids"][0]["entries"]) == 5
    assert (
        content["colours"] == colours(told) == {"<b>odd</b>": 0, "tanh": 1, "linear": 2, "skip": 3}
    )


def test_each_edge_has_its_curves_and_its_row(runs: Path) -> None:
    told = contents_of(RunFolder.open(runs / "own"))
    ((title, charts),) = edge_charts(told)
    assert title == ""
    assert [chart.title for chart in charts] == ["0", "1"]
    first = told.moves.grids[0].entries
    assert isinstance(charts[0], Lines)
    assert charts[0].series["tanh"] == [rows[0][1] for rows in first]
    assert charts[0].at == [0, 1, 2, 3, 4]
    assert first_grids(told) == {0, 1}
    searched = contents_of(RunFolder.open(runs / "first"))
    assert [grid.title for grid in searched.moves.grids] == [
        "What each would take off the loss",
        "Alphas",
    ]
    assert first_grids(searched) == {0}


def test_what_comes_next_is_told(runs: Path, call: Call) -> None:
    assert next_calls(contents_of(RunFolder.open(runs / "killed"))) == [
        f"nasp resume {runs / 'killed'}"
    ]
    assert next_calls(contents_of(RunFolder.open(runs / "own")))[0].startswith("nasp.train(found")
    assert f"To look at it: nasp report {runs / 'sweep'}" in call("show", runs / "sweep")


@pytest.mark.parametrize(
    "chart",
    [
        Lines('A & "B"', "epoch", "loss", [1, 2, 3], {"a": [1.0, None, 0.5], "b": [2.0, 1.0, 0.0]}),
        Spread("FLOPs", "FLOPs, M", [1.0, 2.0, 2.0], 1.5),
        Dots(
            "Front", "parameters, K", "error", {"random": [(1, 0.5)], "a": [(2, 0.2)]}, [(2, 0.2)]
        ),
    ],
)
def test_a_chart_is_one_named_picture_in_the_colours_of_the_page(
    chart: Lines | Spread | Dots,
) -> None:
    svg = drawn(chart)
    assert svg.startswith('<svg class="chart" role="img" aria-label="')
    assert svg.count("aria-label") == svg.count('role="') == 1
    assert "var(--c0)" in svg or "var(--accent)" in svg
    assert "<title>" in svg
    assert "A & " not in svg
    assert "script" not in svg


@pytest.mark.parametrize(
    ("chart", "marks"),
    [
        (Lines("A", "epoch", "a", [1, 2, 3], {"a": [0.1, 0.2, 0.3]}), ["1", "2", "3", "epoch"]),
        (Spread("A", "time, us", [450.0, 550.0, 1000.0], 600.0), ["450", "500", "550"]),
    ],
)
def test_an_axis_says_numbers_once_and_plainly(chart: Lines | Spread, marks: list[str]) -> None:
    said = re.findall(r">([^<>]+)</text>", drawn(chart))
    assert said[: len(marks)] == marks


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(UsageError, match=r"pip install 'nasp-torch\[report\]'"):
        drawn(Spread("a", "b", [1.0], 1.0))


def test_a_table_leaves_out_what_there_is_none_of() -> None:
    table = table_of([{"a": 1.25, "b": None}, {"a": 2.0}], {"A": "{a:.1f}", "B": "{b:.2%}"})
    assert table.rows == [["1.2", ""], ["2.0", ""]]
