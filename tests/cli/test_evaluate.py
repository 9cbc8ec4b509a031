"""``nasp evaluate``: what a run's network is worth on what it did not learn from."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from nasp.cli import main
from nasp.jobs.job import begin
from nasp.jobs.options import train_job
from nasp.jobs.train import run_train_job
from nasp.spaces import find_space
from nasp.spaces.sampling import random_architecture

CLASSES = ("cat", "dog", "owl")


def draw(folder: Path, count: int, seed: int) -> None:
    """Draw images of many sizes in a class's colour, some in another's."""
    generator = torch.Generator().manual_seed(seed)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            pixels = torch.randint(150, (9 + i, 14, 3), generator=generator, dtype=torch.uint8)
            pixels[..., (label + (i % 4 == 0)) % 3] += 100
            Image.fromarray(pixels.numpy()).save(folder / name / f"{i}.png")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with images and a training on them, and a text and a training on that."""
    path = tmp_path_factory.mktemp("evaluate")
    draw(path / "data" / "train", 8, 0)
    draw(path / "data" / "test", 9, 1)
    (path / "text").mkdir()
    for part in ("train", "valid", "test"):
        (path / "text" / f"{part}.txt").write_text("one two three four five six\n" * 8)
    images = {"name": f"folder:{path / 'data'}", "image_size": 8, "batch_size": 8, "workers": 0}
    text = {"name": f"text:{path / 'text'}", "batch_size": 2, "bptt": 5}
    for name, data, space in (("run", images, "nasbench201"), ("language", text, "recurrent")):
        size, recipe = {"channels": 4, "cells": 1}, {"epochs": 3, "device": "cpu"}
        if name == "run":
            recipe["lr"] = 0.1
        job = train_job(random_architecture(find_space(space), 0), data, size, recipe, [])
        run_train_job(job, begin(path / name, job))
    return path


@pytest.fixture
def evaluate(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return what runs the command in the folder, and gives back what it wrote."""
    monkeypatch.chdir(folder)

    def run(*arguments: str, code: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["nasp", "evaluate", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert (ended.value.code or 0) == code, said.err
        return said.out, said.err

    return run


def kept_figures(run: str) -> dict[str, float]:
    return json.loads(Path(run, "test.json").read_text())


def test_the_test_part_has_the_trainings_own_figures(evaluate) -> None:
    out, err = evaluate("run", "--json")
    summary = json.loads(out)
    assert err == ""
    assert summary["on"] == "the run's test part"
    assert summary["figures"]["accuracy"] == pytest.approx(
        kept_figures("run")["accuracy"], abs=1e-6
    )
    assert summary["figures"]["loss"] == pytest.approx(kept_figures("run")["loss"], rel=1e-4)
    assert [row["examples"] for row in summary["classes"]] == [9, 9, 9]
    assert sum(map(sum, summary["confusion"])) == 27
    wrong = 27 - sum(row[i] for i, row in enumerate(summary["confusion"]))
    assert 0 < wrong == len(summary["mistakes"]) < 27
    for each in summary["mistakes"]:
        assert Path(each["example"]).parent.name == each["label"] != each["predicted"]
    kept = json.loads(Path("run/evaluation/evaluation.json").read_text())
    assert kept == summary
    for name in ("confusion", "mistakes"):
        assert Image.open(f"run/evaluation/{name}.png").format == "PNG"


def test_people_read_a_table(evaluate) -> None:
    out, _ = evaluate("run", "--out", "elsewhere", "--weights", "last")
    assert "accuracy " in out
    assert "on the run's test part; weights: last of run" in out
    assert "cat" in out
    assert " taken for " in out
    names = ["confusion.png", "evaluation.json", "mistakes.png"]
    assert sorted(path.name for path in Path("elsewhere").iterdir()) == names


def test_moved_data_and_other_data(evaluate, folder: Path, tmp_path: Path) -> None:
    expected = json.loads(evaluate("run", "--json")[0])["figures"]
    (folder / "data").rename(folder / "moved")
    try:
        _, err = evaluate("run", code=1)
        assert err.splitlines()[-1].startswith("nasp: 27 test images of the run in run are gone")
        assert err.splitlines()[-1].endswith("say where they are now by --data.")
        shutil.rmtree(folder / "run" / "evaluation")
        moved = json.loads(evaluate("run", "--data", "folder:moved", "--json")[0])
        assert moved["figures"] == expected
        assert moved["on"] == "the run's test part"
    finally:
        (folder / "moved").rename(folder / "data")
    draw(tmp_path / "flat", 5, 2)
    shutil.rmtree(tmp_path / "flat" / "owl")
    flat = json.loads(evaluate("run", "--data", f"folder:{tmp_path / 'flat'}", "--json")[0])
    assert flat["on"] == f"folder:{tmp_path / 'flat'}"
    assert [row["examples"] for row in flat["classes"]] == [5, 5, 0]
    assert flat["classes"][2]["recall"] is None
    (tmp_path / "flat" / "cat").rename(tmp_path / "flat" / "cow")
    _, err = evaluate("run", "--data", f"folder:{tmp_path / 'flat'}", code=2)
    assert err.splitlines()[-1].endswith("does not know: cow.")


def test_a_text_has_its_perplexity(evaluate) -> None:
    summary = json.loads(evaluate("language", "--json")[0])
    expected = {name: kept_figures("language")[name] for name in ("loss", "perplexity")}
    assert summary["figures"] == pytest.approx(expected)
    assert "classes" not in summary
    assert summary["files"] == ["language/evaluation/evaluation.json"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("text",), "text is not a run folder"),
        (("run", "--data", "text:text"), "The network in run is for images, and 'text:text'"),
        (("run", "--weights", "inherit"), "run is a training"),
        (("run", "--data", "folder:nowhere"), "There is no folder nowhere"),
    ],
)
def test_mistakes(evaluate, arguments: tuple[str, ...], message: str) -> None:
    _, err = evaluate(*arguments, code=2)
    assert err.splitlines()[-1].startswith(f"nasp: {message}")
