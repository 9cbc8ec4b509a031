"""Terminals narrow and poor: the progress line, the help, completion, and encodings."""

from __future__ import annotations

import io
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress
from typer.testing import CliRunner

from nasp import cli
from nasp.cli import app, search_report
from nasp.cli.encoding import write_any_text
from nasp.cli.tables import print_table
from nasp.errors import CaptureWarning
from nasp.supernet.architecture import Architecture
from nasp.training.events import (
    EpochEnded,
    Measured,
    Measuring,
    Started,
    Stepped,
    Warned,
    Within,
)
from nasp.training.progress import Watch

MEANS = {"train_loss": 0.5, "train_accuracy": 0.75, "val_loss": 0.6, "val_accuracy": 0.625}


def on_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr(Console, "is_terminal", property(lambda console: True))
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")


def bar(width: int, epochs: int = 50) -> str:
    """Return the line of a search half way."""
    watch = Watch()
    watch(Started(0, epochs, 390))
    watch(Stepped(epochs // 2, 100, MEANS, 12))
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    with console.capture() as captured:
        console.print(watch.progress.get_renderable())
    return captured.get()


@pytest.mark.parametrize(("width", "epochs"), [(80, 50), (80, 6000), (100, 600), (160, 50)])
def test_the_progress_line_says_what_matters(
    width: int, epochs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_terminal(monkeypatch, width)
    line = bar(width, epochs)
    assert line.count("\n") == 1
    assert "…" not in line
    assert f"epoch {epochs // 2}/{epochs} " in line
    assert "━━" in line
    assert re.search(r"ETA (--:--|[\d:]+) ", line)
    assert "val accuracy 62.5%" in line
    assert ("12 edges changed" in line) == (width == 160)


def several(watch: Watch) -> None:
    """Let a dozen searches run, two at a time, of which one is over."""
    keys = ["nasp, seed 0", "complexity=0.1, random, seed 10", "[bold]darts, seed 1"]
    for index, key in enumerate(keys[:2]):
        watch(Measuring(key, index, 12, None, alone=False))
        watch(Within(key, Started(0, 15, 44)))
        watch(Within(key, Stepped(3 + index, 20, MEANS)))
    watch(Measured(keys[0], 1, 12, 12.34, 100.0))
    watch(Measuring(keys[2], 2, 12, 90.0, alone=False))


def test_several_at_once_are_a_table_of_a_line_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    on_terminal(monkeypatch, 80)
    watch = Watch()
    several(watch)
    console = Console(file=io.StringIO(), width=80, force_terminal=False)
    with console.capture() as captured:
        console.print(watch.progress.get_renderable())
    over_all, random, darts = captured.get().splitlines()
    assert re.match(r"1/12 done +━* +ETA .* ETA 1:30", over_all)
    assert re.match(r"complexity=0.1, random,…  epoch 4/15 +━+ +ETA", random)
    assert darts.startswith("[bold]darts, seed 1  starts")
    assert "1/12  nasp, seed 0  12.3 s  ETA 1:40" in capsys.readouterr().err


def test_several_at_once_are_a_line_at_each_end_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Watch() as watch:
        several(watch)
        watch(Measured("darts, seed 1", 2, 12, 3.0, None, "The loss became nan."))
    assert capsys.readouterr().err.splitlines() == [
        "1/12  nasp, seed 0  12.3 s  ETA 1:40",
        "2/12  darts, seed 1  failed: The loss became nan.",
    ]


def test_a_narrow_line_leaves_out_the_bar_and_not_the_figure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    on_terminal(monkeypatch, 40)
    line = bar(40)
    assert "…" not in line
    assert line.split()[:2] == ["epoch", "25/50"]
    assert "val accuracy 62.5%" in line


def test_an_epochs_figures_are_wrapped_between_them(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edges = {f"edge{i}": "nor_conv_3x3" for i in range(6)}
    epoch = EpochEnded(1, MEANS, 2.0, Architecture(edges))
    for width in (40, 80):
        on_terminal(monkeypatch, width)
        watch = Watch()
        watch(Started(0, 5, 10))
        watch(epoch)
        watch(Warned("The cell in [brackets] collapses: all of its edges hold parameterless ones"))
        text = re.sub("\x1b.*?m", "", capsys.readouterr().err)
        assert max(map(len, text.splitlines())) <= width
        assert "train accuracy 75.0%" in text
        assert all(f"{edge}=nor_conv_3x3" in text for edge in edges)
        assert "warning: The cell in [brackets] collapses: all" in " ".join(text.split())
    monkeypatch.setattr(Console, "is_terminal", property(lambda console: False))
    watch = Watch()
    watch(Started(0, 5, 10))
    watch(epoch)
    assert len(capsys.readouterr().err.splitlines()) == 2  # for grep


def test_results_are_not_printed_over_a_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live: list[str] = []
    tell = search_report.tell_search

    def start(progress: Progress) -> None:
        live.append("bar")

    def told(*arguments: Any) -> Any:
        assert not live
        return tell(*arguments)

    monkeypatch.setattr(Progress, "start", start)
    monkeypatch.setattr(Progress, "stop", lambda progress: live.clear())
    monkeypatch.setattr(search_report, "tell_search", told)
    run = str(tmp_path / "run")
    small = ["--epochs", "1", "--subset", "64", "--channels", "4", "--no-train"]
    for call in (["search", *small, "--out", run], ["resume", run]):
        result = CliRunner().invoke(app, call, catch_exceptions=False)
        assert result.exit_code == 0
        assert "Next: nasp train" in result.output


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_no_character_ends_a_run(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding) for name in ("stdout", "stderr")}
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    on_terminal(monkeypatch, 80)
    write_any_text()
    print_table([{"name": "Tomáš ×²", "value": 1.5}], {"τ": "{name}", "±": "{value:.2f}"})
    with Watch() as watch:
        watch(Started(0, 2, 3))
        watch(Measuring("η = ½ 猫", 1, 3, 5.0))
    text = {}
    for name, stream in streams.items():
        stream.flush()
        text[name] = stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert "Tomas x2" in text["stdout"] or "Tomás ×²" in text["stdout"]
    assert "tau" in text["stdout"]
    assert "eta = " in text["stderr"]


def test_python_m_and_short_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    call = [sys.executable, "-m", "nasp", "-h"]
    shown = subprocess.run(call, capture_output=True, check=True).stdout.decode("ascii")
    assert "python -m nasp [OPTIONS]" in shown
    short, long = (CliRunner().invoke(app, [option]).output for option in ("-V", "--version"))
    assert short == long
    assert re.fullmatch(r"nasp \d+\.\d+\.\d+\n", short)
    assert "Usage" in CliRunner().invoke(app, ["bench", "cost", "-h"]).output


@pytest.mark.parametrize("width", [40, 80])
def test_the_help_is_cut_nowhere(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = CliRunner().invoke(app, ["search", "-h"], terminal_width=width).output
    assert "--checkpoint-minutes" in shown
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= max(width, 46)


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("nasp resu", {"resume"}),
        ("nasp search --strat", {"--strategy"}),
        ("nasp train runs/first --besi", {"--beside"}),
        ("nasp search --space nasbench", {"nasbench201", "nasbench201-3"}),
        ("nasp show ru", set()),  # the shell completes files
    ],
)
def test_a_shell_completes_commands_options_and_names(typed: str, offered: set[str]) -> None:
    asked = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" "))}
    environment = {"_NASP_COMPLETE": "complete_bash", **asked}
    result = CliRunner().invoke(app, [], prog_name="nasp", env=environment)
    assert set(result.output.split()) == offered


def test_a_warning_of_every_epoch_is_told_when_it_comes_and_at_the_end(
    capsys: pytest.CaptureFixture[str],
) -> None:
    watch = Watch(quiet=True)
    for _ in range(2):  # each search tells its own
        watch(Started(0, 4, 10))
        for epoch in range(1, 5):
            watch(EpochEnded(epoch, MEANS, 2.0))
            watch(Warned(f"It collapses{', at last' * (epoch == 2)}"))
    first, last = "warning: It collapses", "warning: It collapses, at last"
    assert capsys.readouterr().err.splitlines() == [first, last, first] * 2


def test_a_step_that_a_gpu_cannot_capture_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        warnings.warn("Steps run kernel by kernel", CaptureWarning, stacklevel=1)
        warnings.warn("something of torch's", UserWarning, stacklevel=1)

    monkeypatch.setattr(cli, "app", command)
    cli.main()
    assert capsys.readouterr().err == "warning: Steps run kernel by kernel\n"
