"""``nasp predict``: files in, classes out; damaged ones are named, the others still predicted."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from nasp.cli import main
from nasp.domains.images.preparation import Preparation
from nasp.jobs.job import begin
from nasp.jobs.options import train_job
from nasp.jobs.rebuild import rebuild
from nasp.jobs.train import run_train_job
from nasp.runs.folder import RunFolder
from nasp.spaces import find_space
from nasp.spaces.sampling import random_architecture

CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
Said = tuple[list[str], list[str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a training, six digits as images, a damaged one and a note."""
    path = tmp_path_factory.mktemp("predict")
    data = {"name": "digits", "subset": 32, "batch_size": 16}
    size, recipe = {"channels": 4, "cells": 1}, {"epochs": 1, "device": "cpu"}
    job = train_job(find_space("nasbench201").parse(CELL), data, size, recipe, [])
    run_train_job(job, begin(path / "run", job))
    (path / "images" / "inner").mkdir(parents=True)
    (path / "images" / ".hidden").mkdir()
    for i, digit in enumerate(load_digits().images[:6]):
        image = Image.fromarray((digit * 255 / 16).round().astype("uint8"))
        image.save(path / "images" / ("inner" if i % 2 else ".") / f"{i}.PNG")
    (path / "images" / "note.txt").write_text("no image")
    (path / "images" / ".hidden" / "x.png").write_bytes(b"x")
    (path / "bad.png").write_bytes(b"x")
    return path


@pytest.fixture
def predict(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Return what runs the command in the folder, and gives back the lines that it wrote."""
    monkeypatch.chdir(folder)

    def run(*arguments: str, code: int = 0) -> Said:
        monkeypatch.setattr(sys, "argv", ["nasp", "predict", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        assert (ended.value.code or 0) == code, said.err
        return said.out.splitlines(), said.err.splitlines()

    return run


def test_a_folder_and_a_damaged_file(predict, folder: Path) -> None:
    out, err = predict("run", "images", "bad.png", "absent.png", "--top", "2", code=1)
    rows = [json.loads(line) for line in out]
    names = ["0", "2", "4", "inner/1", "inner/3", "inner/5"]
    assert [row["path"] for row in rows[:6]] == [f"images/{name}.PNG" for name in names]
    run = RunFolder.open("run")
    network, kept = rebuild(run).network.eval(), Preparation.read(run.path)
    for row in rows[:6]:
        with torch.no_grad():
            expected = network(kept.tensor(row["path"])[None]).softmax(1)[0]
        assert row["class"] == str(int(expected.argmax())) == row["top"][0]["class"]
        assert row["probability"] == pytest.approx(float(expected.max()))
        assert [each["probability"] for each in row["top"]] == pytest.approx(
            expected.topk(2).values.tolist()
        )
    assert [row["path"] for row in rows[6:]] == ["bad.png", "absent.png"]
    assert err == [f"nasp: {row['error']}" for row in rows[6:]]
    assert err[0].startswith("nasp: Cannot read the image bad.png: ")
    assert err[1].startswith("nasp: Cannot read the image absent.png: No such file")


def test_paths_from_standard_input(predict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("images/0.PNG\n\nimages/2.PNG\n"))
    out, _ = predict("run", "-", "--batch-size", "1", "--weights", "last")
    assert [json.loads(line)["path"] for line in out] == ["images/0.PNG", "images/2.PNG"]


def test_a_table_at_a_terminal(predict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    out, err = predict("run", "images/0.PNG", "bad.png", "--top", "3", code=1)
    table = "\n".join(out)
    assert "images/0.PNG" in table
    assert table.count("%") == 3
    assert "bad.png" not in table
    assert len(err) == 1
    out, _ = predict("run", "images/0.PNG", "--json")
    assert json.loads(out[0])["path"] == "images/0.PNG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere", "bad.png"), "There is no run folder or exported file 'nowhere'"),
        (("images", "bad.png"), "images is not a run folder"),
        (("run", "run/checkpoints"), "run/checkpoints holds no file that ends in .jpg"),
        (("run", "bad.png", "--weights", "inherit"), "run is a training"),
        (("bad.onnx", "bad.png", "--weights", "best"), "An exported file has its weights"),
    ],
)
def test_mistakes(predict, arguments: tuple[str, ...], message: str) -> None:
    _, err = predict(*arguments, code=2)
    assert err[-1].startswith(f"nasp: {message}")


def test_a_text_has_no_classes(predict, folder: Path) -> None:
    Path("text").mkdir()
    for part in ("train", "valid", "test"):
        Path(f"text/{part}.txt").write_text("one two three four five six\n" * 8)
    data = {"name": "text:text", "batch_size": 2, "bptt": 5}
    size, recipe = {"channels": 4, "cells": 1}, {"epochs": 1, "device": "cpu"}
    job = train_job(random_architecture(find_space("recurrent"), 0), data, size, recipe, [])
    run_train_job(job, begin("language", job))
    _, err = predict("language", "bad.png", code=2)
    assert err[-1].startswith("nasp: The network in language cannot be used on files")
