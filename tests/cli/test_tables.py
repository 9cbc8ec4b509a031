"""Tables on standard output: what cells say, what is left out, how wide a file is."""

from __future__ import annotations

import re

import pytest
from rich.console import Console

from nasp.cli.tables import print_table

COLUMNS = {
    "who": "{name}",
    "s": "{seconds[median]:.3f}",
    "MB": "{bytes:MB}",
    "GFLOP": "{flops:G}",
    "gain": "{gain:.1f}",
}


def test_cells_say_what_their_columns_say(capsys: pytest.CaptureFixture[str]) -> None:
    row = {"name": "[b]a", "seconds": {"median": 0.25}, "bytes": 3.2e6, "flops": 1.234e9, "gain": 2}
    print_table([row], COLUMNS, title="Costs [i]")
    title, _, headings, _, cells = capsys.readouterr().out.splitlines()[:5]
    assert title.strip() == "Costs [i]"
    assert headings.split() == list(COLUMNS)
    assert cells.split() == ["[b]a", "0.250", "3", "1.23", "2.0"]


def test_what_there_is_none_of_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"name": "a", "seconds": None, "bytes": None, "gain": 1.0}], COLUMNS)
    assert capsys.readouterr().out.splitlines()[3].split() == ["a", "1.0"]


def test_words_are_folded_and_figures_are_not(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([{"name": "x" * 300, "gain": 123456.0}], {"who": "{name}", "gain": "{gain:.1f}"})
    lines = capsys.readouterr().out.splitlines()
    assert "123456.0" in lines[3]
    assert sum(line.count("x") for line in lines) == 300
    assert max(map(len, lines)) <= 160


@pytest.mark.parametrize("width", [80, 40])
@pytest.mark.parametrize("words", [1, 0])
def test_what_does_not_fit_goes_on_below(
    width: int, words: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Console, "is_terminal", property(lambda console: True))
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    row = {"name": "epoch 1", **{f"f{i}": 1000 + i + 0.25 for i in range(14)}}
    figures = {f"figure, {i} of all": f"{{f{i}:.2f}}" for i in range(14)}
    print_table([row], {"who": "{name}", **figures}, "Title", words=words)
    text = re.sub("\x1b.*?m", "", capsys.readouterr().out)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert all(text.count(f"{1000 + i}.25") == 1 for i in range(14))
    assert text.count("epoch 1") == text.count("─\n") + text.count("─ \n") > 1
    assert text.count("Title") == 1
