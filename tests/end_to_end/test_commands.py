"""The command line, from arguments to exit code, standard output and standard error."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

import nasp
from nasp.cli import main
from nasp.jobs.job import begin
from nasp.jobs.options import search_job
from nasp.jobs.search import run_search_job
from nasp.spaces import find_space
from nasp.supernet.architecture import Architecture

NASP = Path(sys.executable).with_name("nasp")
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
DARTS_V2 = (
    "Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0), "
    "('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0), "
    "('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0), "
    "('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0), "
    "('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=[2, 3, 4, 5])"
)
SMALL = ["--channels", "4", "--cells", "1", "--epochs", "1", "--subset", "32"]
SEARCH = ["search", *SMALL, "--batch-size", "16", "--no-train"]
TRAIN = ["train", CELL, "--data", "digits", *SMALL, "--batch-size", "16"]


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    code: int
    out: str
    err: str


class Run(Protocol):
    """Runs the command line in this process."""

    def __call__(self, *arguments: object) -> Done: ...


@pytest.fixture
def run(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Run]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    levels = {name: logging.getLogger(name).level for name in ("lightning_fabric", "lightning")}

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["nasp", *map(str, arguments)])
        capfd.readouterr()
        with warnings.catch_warnings(), pytest.raises(SystemExit) as ended:
            main()
        code = ended.value.code
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        assert isinstance(code, int | None)
        return Done(code or 0, out, err)

    yield run
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def unboxed(text: str) -> str:
    """Return the text of typer's error boxes on one line."""
    return " ".join(re.sub(r"[│╭╮╰╯─]", " ", text).split())


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished search."""
    path = tmp_path_factory.mktemp("finished") / "run"
    data = {"name": "digits", "subset": 32, "batch_size": 16}
    job = search_job(data, None, {"channels": 4, "cells": 1}, {"epochs": 1}, {})
    run_search_job(job, begin(path, job))
    return path


@pytest.fixture
def unfinished(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a search that was begun and failed before its first epoch ended."""
    path = tmp_path / "unfinished"
    assert run(*SEARCH, "--lr", "1e30", "--epochs", "3", "--out", path).code == 1
    return path


@pytest.mark.slow
def test_help_and_version_of_the_installed_command() -> None:
    for arguments in (["--help"], ["--version"], ["search", "--help"]):
        result = subprocess.run(
            [NASP, *arguments], capture_output=True, text=True, check=True, timeout=60
        )
        assert result.stderr == ""
        assert "nasp" in result.stdout


def test_help(run: Run) -> None:
    whole = run("--help")
    assert whole.code == 0
    for command in ("search", "resume", "train", "show"):
        assert command in whole.out
        one = run(command, "--help")
        assert one.code == 0
        assert "Examples" in one.out
        assert one.out.count(f"nasp {command} ") >= 2
        assert "\x1b" not in one.out


def test_version(run: Run) -> None:
    assert run("--version") == Done(0, f"nasp {nasp.__version__}\n", "")


def test_help_does_not_wait_for_torch() -> None:
    code = "import sys, nasp.cli; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bake"], "No such command 'bake'"),
        (["search", "--bake"], "No such option: --bake"),
        (["search", "--epochs", "0"], "Invalid value for '--epochs'"),
        (["search", "--epochs", "many"], "Invalid value for '--epochs'"),
        (["search", "--uniform", "2"], "Invalid value for '--uniform'"),
        (["resume"], "Missing argument 'RUN'"),
        (["show"], "Missing argument 'RUN|ARCH'"),
    ],
)
def test_arguments_that_typer_refuses(run: Run, arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert message in unboxed(done.err)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "--space", "moon"], "Unknown .*'moon': choose one of darts, mobile, nas"),
        (["search", "--data", "moon"], "Unknown data 'moon': choose one of cifar10"),
        (["search", "--data", "folder:nowhere"], "nowhere"),
        (["search", "--strategy", "magic"], "Unknown strategy 'magic': choose one of"),
        (["search", "--set", "magic=1"], "Setting 'magic' of strategy 'nasp': there is no such"),
        (["search", "--set", "magic"], "--set takes NAME=VALUE, not 'magic'"),
        (["search", "--select", "best"], "Setting 'select' of the search: .*'rerank' or 'train'"),
        (["search", "--set-select", "magic=1"], "Setting 'magic' of the selection: there is no"),
        (["search", "--set-select", "magic"], "--set-select takes NAME=VALUE, not 'magic'"),
        (
            ["search", "--set-select", "first_rung=99"],
            "settings of the selection do not fit: .* two",
        ),
        (["search", "--strategy", "random", "--select", "rerank"], "trains no shared weights"),
        (["search", "--alpha-lr", "-1"], "Setting 'lr' of strategy 'nasp'"),
        (["search", "--lr", "-1"], "Setting 'lr' of the search"),
        (["search", "--device", "abacus"], "Setting 'device' of the search"),
        (["search", "--precision", "8"], "Setting 'precision' of the search"),
        (["search", "--checkpoint-minutes", "0"], "Setting 'checkpoint_minutes'"),
        (["search", "--batch-size", "99999"], "too few for a batch of 99999"),
        (["search", "--subset", "99999"], "99999"),
        (["search", "--image-size", "16"], "'digits' has one image size"),
        (["resume", "nowhere"], "nowhere is not a run folder"),
        (["train", "nowhere"], "There is no run folder, file or architecture 'nowhere'"),
        (["train", CELL], "--data NAME"),
        (["train", CELL, "--data", "digits", "--beside", "vgg"], "Unknown --beside 'vgg'"),
        (["train", "|magic~0|", "--data", "digits"], "is no architecture of any space"),
        (["show", "nowhere"], "There is no run folder, file or architecture 'nowhere'"),
        (["show", "Genotype(normal=[('x', 0)])"], "is no architecture of any space"),
    ],
)
def test_a_mistake_is_one_sentence(run: Run, arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    lines = [line for line in done.err.splitlines() if not line.startswith("Searching ")]
    assert len(lines) == 1
    assert re.match(f"nasp: .*{message}", lines[0])


def test_a_folder_that_is_taken(run: Run, finished: Path, tmp_path: Path) -> None:
    before = (finished / "config.json").read_bytes()
    for command in (SEARCH, TRAIN):
        done = run(*command, "--out", finished)
        assert done.code == 2
        assert done.err.startswith(f"nasp: {finished} is not empty")
    assert (finished / "config.json").read_bytes() == before
    (tmp_path / "file").write_text("x")
    assert run(*SEARCH, "--out", tmp_path / "file").code == 2


def test_a_folder_that_cannot_be_made(run: Run) -> None:
    done = run(*SEARCH, "--out", "/proc/nowhere/run")
    assert done.code == 1
    assert done.err.startswith("nasp: Cannot write /proc/nowhere/run/config.json")


@pytest.mark.parametrize("command", [SEARCH, TRAIN], ids=["search", "train"])
def test_a_loss_that_is_not_finite(run: Run, tmp_path: Path, command: list[str]) -> None:
    done = run(*command, "--lr", "1e30", "--epochs", "4", "--out", tmp_path / "run")
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[-1].startswith("nasp: The loss became")
    assert done.err.count("nasp: ") == 1


def test_an_unfinished_run(run: Run, unfinished: Path) -> None:
    done = run("train", unfinished)
    assert done.code == 2
    assert f"is not finished: go on with 'nasp resume {unfinished}'" in done.err
    shown = run("show", unfinished)
    assert shown.code == 0
    assert f"Not finished. Next: nasp resume {unfinished}" in shown.out
    summary = json.loads(run("show", unfinished, "--json").out)
    assert summary["finished"] is False
    assert summary["epochs"] == 3
    assert summary["epochs_done"] < 3
    assert "architecture" not in summary


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("{", 1),
        ("[]", 1),
        ('{"format": "nasp-architecture/1", "space": "darts", "edges": {"a": 3}}', 1),
        ('{"format": "nasp-architecture/1", "space": "darts", "edges": {"a": "b"}}', 2),
        ('{"format": "nasp-architecture/1", "space": "nasbench201", "edges": {}}', 2),
        ("\udcff", 1),
    ],
)
def test_a_bad_architecture_file(run: Run, tmp_path: Path, content: str, code: int) -> None:
    path = tmp_path / "architecture.json"
    path.write_bytes(content.encode(errors="surrogateescape"))
    for arguments in (["show", path], ["train", path, "--data", "digits", "--out", "t"]):
        done = run(*arguments)
        assert (done.code, done.out) == (code, "")
        assert done.err.splitlines()[-1].startswith("nasp: ")


def test_an_architecture_of_no_space(run: Run, tmp_path: Path) -> None:
    Architecture({"body.1": "conv[/b]", "body.2": None}).save(tmp_path / "a.json")
    done = run("show", tmp_path / "a.json")
    assert done.code == 0
    assert "conv[/b]" in done.out
    assert "off" in done.out
    done = run("train", tmp_path / "a.json", "--data", "digits")
    assert (done.code, done.err.count("nasp: ")) == (2, 1)


def test_a_selection_is_printed_shown_and_summed_up(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "run"
    select = ["--select", "train", "--select-epochs", "4", "--set-select", "candidates=5"]
    select += ["--set-select", "first_rung=1"]
    done = run(*SEARCH, "--strategy", "random-sharing", *select, "--out", path)
    assert done.code == 0
    assert "\x1b" not in done.out + done.err
    assert "re-ranking 1/1" in done.err
    assert [f"selection epoch {epoch}/4" in done.err for epoch in range(1, 6)] == [True] * 4 + [
        False
    ]
    assert "Selection by stand-alone training (4 for 1 epochs)" in done.out
    table = json.loads((path / "selection.json").read_text())
    assert len(table["contenders"]) == 5
    assert [len(contender["rungs"]) for contender in table["contenders"]] == [1, 1, 1, 1, 0]
    found = Architecture.load(path / "architecture.json")
    assert dict(found.edges) == table["contenders"][0]["edges"]
    shown = run("show", path)
    assert shown.code == 0
    space = find_space("nasbench201")
    notations = [
        space.notation(Architecture(contender["edges"], space.name))
        for contender in table["contenders"]
    ]
    for out in (done.out, shown.out):
        places = [out.index(notation) for notation in notations]
        assert places == sorted(places)
    assert json.loads(run("show", path, "--json").out)["selection"] == table
    resumed = run("resume", path, "--json")
    assert json.loads(resumed.out)["selection"] == table


def test_a_search_prints_plain_lines(run: Run, tmp_path: Path) -> None:
    # A folder's name may look like markup.
    path = tmp_path / "run[bold]a[/x]"
    done = run(*SEARCH, "--epochs", "2", "--out", path)
    assert done.code == 0
    assert "\x1b" not in done.out + done.err
    assert "\r" not in done.out + done.err
    lines = done.err.splitlines()
    assert lines[0] == f"Searching nasbench201 on digits; run folder {path}"
    epochs = [line for line in lines if line.startswith("epoch ")]
    assert len(epochs) == 2
    assert re.match(r"epoch 1/2  train loss \d\.\d{3}  train accuracy [\d.]+%", epochs[0])
    assert "ETA 0:0" in epochs[0]
    assert f"Run folder: {path}" in done.out
    assert f"Next: nasp train {path}" in done.out
    assert find_space("nasbench201").notation(Architecture.load(path / "architecture.json")) in (
        done.out
    )


def test_json_of_a_search_and_of_its_resumption(run: Run, tmp_path: Path) -> None:
    done = run(*SEARCH, "--json", "--out", tmp_path / "run")
    assert done.code == 0
    summary = json.loads(done.out)
    found = Architecture.load(tmp_path / "run" / "architecture.json")
    assert summary["architecture"]["edges"] == dict(found.edges)
    assert summary["run"] == str(tmp_path / "run")
    assert summary["epochs"] == 1
    assert all(line.startswith("warning: ") for line in done.err.splitlines())
    again = run("resume", tmp_path / "run", "--json")
    assert json.loads(again.out) == summary


def test_search_then_train(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "run"
    assert run(*SEARCH, "--out", path).code == 0
    done = run("train", path, *SMALL, "--batch-size", "16", "--beside", "resnet", "--json")
    assert done.code == 0
    summary = json.loads(done.out)
    assert summary["run"] == str(path / "train")
    assert [row["name"] for row in summary["results"]] == ["found", "resnet"]
    for row in summary["results"]:
        assert row.keys() >= {"parameters", "test_accuracy", "best_val_accuracy", "seconds"}
    again = run("train", path, *SMALL)
    assert again.code == 2
    assert f"nasp resume {path / 'train'}" in again.err
    resumed = run("resume", path / "train")
    assert resumed.code == 0
    assert "hand-made residual network" in resumed.out
    assert "\x1b" not in resumed.out + resumed.err


def test_a_run_folder_by_default(run: Run, tmp_path: Path) -> None:
    assert run(*SEARCH).code == 0
    (path,) = (tmp_path / "runs").iterdir()
    assert re.fullmatch(r"\d{8}-\d{6}-digits-nasbench201", path.name)
    assert (path / "architecture.json").is_file()


def test_show_a_finished_run(run: Run, finished: Path) -> None:
    done = run("show", finished)
    assert done.code == 0
    assert done.err == ""
    assert "parameters at 4 channels, 1 cell, images 1×8², 10 classes" in done.out
    assert "Not finished" not in done.out
    summary = json.loads(run("show", finished, "--json").out)
    assert summary["finished"] is True
    assert (summary["kind"], summary["epochs"], summary["epochs_done"]) == ("search", 1, 1)
    found = Architecture.load(finished / "architecture.json")
    assert summary["architecture"]["edges"] == dict(found.edges)
    assert summary["metrics"][0]["epoch"] == 1


def show(run: Run, *arguments: object) -> Any:
    done = run("show", *arguments, "--no-latency", "--json")
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)["architecture"]


def test_show_darts_v2_has_the_published_parameters(run: Run) -> None:
    summary = show(run, DARTS_V2, "--channels", 4, "--cells", 3, "--no-latency")
    assert summary["space"] == "darts"
    assert len(summary["wiring"]) == 16
    printed = run("show", DARTS_V2, "--channels", 36, "--cells", 20, "--no-latency")
    assert "3,349,342 parameters at 36 channels, 20 cells, images 3×32²" in printed.out
    darts = find_space("darts")
    assert darts.parse(summary["notation"]) == darts.parse(DARTS_V2)
    assert summary["notation"] in printed.out


def test_show_one_architecture_in_all_its_notations(run: Run, tmp_path: Path) -> None:
    space = find_space("nasbench201")
    space.parse(CELL).save(tmp_path / "a.json")
    by_text, by_file = show(run, CELL), show(run, tmp_path / "a.json")
    assert by_text == by_file
    assert by_text["notation"] == CELL
    wider = show(run, CELL, "--channels", 32)
    assert wider["parameters"] > by_text["parameters"]
    assert "none" not in {wire["operation"] for wire in by_text["wiring"]}
