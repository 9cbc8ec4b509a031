"""Language models on the command line: search, train, resume, show, and bad texts."""

from __future__ import annotations

import json
import math
import random
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from nasp.cli import main
from nasp.complexity import among_random, parameter_count
from nasp.jobs.rebuild import rebuild
from nasp.runs.folder import RunFolder
from nasp.spaces.recurrent import RECURRENT, LanguageConfig
from nasp.strategies import STRATEGIES
from nasp.supernet.architecture import Architecture
from nasp.training.learner import Learner

PUBLISHED = (
    "Genotype(recurrent=[('sigmoid', 0), ('relu', 1), ('relu', 1), ('identity', 1), ('tanh', 2),"
    " ('sigmoid', 5), ('tanh', 3), ('relu', 5)], concat=range(1, 9))"
)
SMALL = ["--channels", "8", "--batch-size", "8", "--bptt", "10"]

Run = Callable[..., Any]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Return a function that runs a command and returns exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")
    # A network is shown beside so many random ones, each measured; 20 take seconds.
    monkeypatch.setattr(among_random, "RANDOM_BUILT", 3)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["nasp", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return int(ended.value.code or 0), out, err

    return run


@pytest.fixture
def text(tmp_path: Path) -> Path:
    """Return a folder of text in which a word mostly says which comes next."""
    generator, folder = random.Random(0), tmp_path / "text"
    folder.mkdir()
    words = [f"w{number}" for number in range(12)]
    for part, lines in (("train", 60), ("valid", 20), ("test", 20)):
        rows = []
        for _ in range(lines):
            start = generator.randrange(12)
            rows.append(" ".join(words[(start + step) % 12] for step in range(9)))
        (folder / f"{part}.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    with (folder / "valid.txt").open("a", encoding="utf-8") as stream:
        stream.write("w0 moon w2\n")
    return folder


def test_search_train_resume_and_show(run: Run, text: Path, tmp_path: Path) -> None:
    searched = run("search", "--data", f"text:{text}", *SMALL, "--epochs", 2, "--out", "found")
    assert searched[0] == 0
    assert "600 train, 204 valid, 200 test tokens, a vocabulary of 14;" in searched[2]
    assert "unknown and read as <unk>: 1 of valid (0.5%), 0 of test (0.0%)" in searched[2]
    assert "Searching recurrent on text:" in searched[2]
    assert "Next: nasp train found" in searched[1]
    found = Architecture.load(tmp_path / "found" / "architecture.json")
    assert RECURRENT.notation(found) in searched[1]

    beside = ["--beside", "random:1", "--beside", "lstm"]
    fast = ["--epochs", 2, "--lr", 2, "--dropout", "output=0", "--dropout", "input=0"]
    trained = run("train", "found", *SMALL, *beside, *fast, "--json")
    assert (trained[0], trained[2]) == (0, "")
    rows = json.loads(trained[1])["results"]
    assert [row["name"] for row in rows] == ["found", "random-1", "lstm"]
    for row in rows:
        assert row["epochs"] == 2
        assert 1 < row["test_perplexity"] < 14
        assert row["tokens_per_second"] > 0
        assert row["at_equal_time"]["seconds"] == min(r["seconds"] for r in rows)
    assert rows[0]["parameters"] == rows[1]["parameters"]
    assert abs(rows[2]["parameters"] / rows[0]["parameters"] - 1) < 0.1

    code, out, _ = run("resume", "found/train")
    assert code == 0
    assert "LSTM" in out
    assert f"{rows[0]['test_perplexity']:.2f}" in out

    code, out, _ = run("show", "found", "--plot", "curves.png")
    assert code == 0
    assert RECURRENT.notation(found) in out
    assert "parameters at 8 channels, 1 cell, a vocabulary of 14" in out
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    shown = json.loads(run("show", "found/train", "--json")[1])
    losses = [line["valid_loss"] for line in shown["metrics"]]
    assert losses[1] < losses[0]
    assert shown["metrics"][1]["valid_perplexity"] == pytest.approx(math.exp(losses[1]))


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_strategy_searches_texts(run: Run, text: Path, strategy: str, tmp_path: Path) -> None:
    options = ["--epochs", 1, "--strategy", strategy, "--out", "found", "--json"]
    code, out, _ = run("search", "--data", f"text:{text}", *SMALL, *options)
    assert code == 0
    cell = json.loads(out)["architecture"]["notation"]
    assert RECURRENT.parse(cell) == Architecture.load(tmp_path / "found" / "architecture.json")


def test_characters(run: Run, text: Path, tmp_path: Path) -> None:
    options = ["--tokens", "char", *SMALL, "--epochs", 1, "--out", "found"]
    code, _, err = run("search", "--data", f"text:{text}", *options)
    assert code == 0
    vocabulary = json.loads((tmp_path / "found" / "vocabulary.json").read_text("utf-8"))
    assert set(vocabulary) == {*"w0123456789 ", "<eos>", "<unk>"}
    assert "a vocabulary of 14; unknown and read as <unk>: 4 of valid" in err
    assert run("train", "found", *SMALL, "--epochs", 1, "--dropout", "input=0.1")[0] == 0


@pytest.mark.parametrize("kind", ["search", "train"])
def test_stopped_in_an_epoch_it_ends_with_the_same_bits(
    run: Run, text: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = [] if kind == "search" else [PUBLISHED, "--varied-bptt", "--patience", 1]
    command = [kind, *target, "--data", f"text:{text}", *SMALL, "--epochs", 3, "--lr", 2]
    assert run(*command, "--out", "whole")[0] == 0

    steps, step = 0, Learner.weight_step

    def interrupted(self: Learner, batch: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 12:
            raise OSError(28, "No space left on device")
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "weight_step", interrupted)
        assert run(*command, "--checkpoint-minutes", 1e-6, "--out", "stopped")[0] == 1
    assert run("resume", "stopped")[0] == 0
    whole, resumed = tmp_path / "whole", tmp_path / "stopped"
    files = [
        "weights.safetensors",
        "alphas.safetensors" if kind == "search" else "best.safetensors",
    ]
    for name in files:
        ours, theirs = load_file(whole / name), load_file(resumed / name)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert (whole / "metrics.jsonl").read_bytes() == (resumed / "metrics.jsonl").read_bytes()


def test_the_published_cell_is_shown(run: Run) -> None:
    size = ("--channels", 85, "--vocabulary", 1_000, "--no-latency")
    code, out, _ = run("show", PUBLISHED, *size, "--json")
    summary = json.loads(out)["architecture"]
    with torch.device("meta"):  # as large as it was published
        large = RECURRENT.network(
            RECURRENT.parse(PUBLISHED), LanguageConfig(vocabulary=10_000, channels=850)
        )
        small = RECURRENT.network(
            RECURRENT.parse(PUBLISHED), LanguageConfig(vocabulary=1_000, channels=85)
        )
    assert parameter_count(large) == 22_960_000
    assert (code, summary["parameters"]) == (0, parameter_count(small))
    assert summary["wiring"][4] == {
        "cell": "recurrent",
        "source": "node 1",
        "target": "node 4",
        "operation": "tanh",
    }


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("train", b"", r"train\.txt is empty: it must hold text"),
        ("valid", b" \n\n", r"valid\.txt is empty"),
        ("train", b"\x7fELF\x00\x01\x02", r"train\.txt is a binary file: it must hold plain text"),
        ("test", "caf\u00e9".encode("latin1"), r"test\.txt is not UTF-8 \(byte 3 .* iconv"),
        ("train", "one two".encode("utf-16"), r"train\.txt is UTF-16, not UTF-8: convert it"),
        ("valid", None, r"lacks valid\.txt: it must hold train\.txt, valid\.txt and test\.txt"),
        ("train", b"one one\none\n", "a vocabulary of one word: there is nothing to predict"),
        ("train", b"one two\n", "A bptt of 10 is longer than the text: its 3 tokens in 8 columns"),
    ],
)
@pytest.mark.parametrize("kind", ["search", "train"])
def test_a_bad_text_is_one_sentence(
    run: Run, text: Path, kind: str, part: str, content: bytes | None, message: str, tmp_path: Path
) -> None:
    file = text / f"{part}.txt"
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    target = [] if kind == "search" else [PUBLISHED]
    code, out, err = run(kind, *target, "--data", f"text:{text}", *SMALL, "--out", "run")
    assert (code, out) == (2, "")
    assert len(re.findall("^nasp: .*$", err, re.M)) == 1
    assert re.search(f"^nasp: .*{message}.*$", err.splitlines()[-1])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["search", "--data", "ptb"], "'ptb' is not in .*: get the archive simple-examples.tgz"),
        (["search", "--data", "text:nowhere"], "There is no folder nowhere: text:DIR takes one"),
        (["search", "--data", "pydoc", "--space", "darts"], "Space 'darts' is for images"),
        (["search", "--data", "digits", "--space", "recurrent"], "Space 'recurrent' is for text"),
        (["search", "--data", "digits", "--bptt", "9"], "--bptt is for text: leave it out"),
        (["search", "--data", "pydoc", "--subset", "9"], "--subset is for images: leave it out"),
        (["search", "--data", "pydoc", "--tokens", "bytes"], "Setting 'tokens' of the data"),
        (
            ["search", "--data", "pydoc", "--dropout", "input=2"],
            "Setting 'dropouts.input' of the supernet",
        ),
        (["search", "--data", "pydoc", "--dropout", "input"], "--dropout takes NAME=VALUE"),
        (["train", PUBLISHED, "--data", "digits"], "Space 'recurrent' is for text"),
        (["train", PUBLISHED, "--data", "pydoc", "--beside", "resnet"], "Unknown --beside"),
        (["train", PUBLISHED, "--data", "pydoc", "--auxiliary", "1"], "--auxiliary is for images"),
        (["show", PUBLISHED, "--image-size", "9"], "--image-size is for images"),
        (["show", PUBLISHED.replace("tanh", "cos")], "Unknown candidate operation .* 'cos'"),
    ],
)
def test_a_mistake_is_one_sentence(run: Run, arguments: list[str], message: str) -> None:
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    lines = [line for line in err.splitlines() if not line.startswith("Searching ")]
    assert len(lines) == 1
    assert re.match(f"nasp: .*{message}", lines[0])


@pytest.mark.slow
def test_the_embedded_text_from_search_to_figures(run: Run, tmp_path: Path) -> None:
    small = ["--channels", "16", "--epochs", "1", "--batch-size", "256"]
    code, out, err = run("search", "--space", "recurrent", *small, "--no-train", "--out", "run")
    assert code == 0
    assert "Searching recurrent on pydoc" in err
    code, out, _ = run("train", "run", *small, "--json")
    words = len(json.loads((tmp_path / "run" / "vocabulary.json").read_text("utf-8")))
    (row,) = json.loads(out)["results"]
    assert row["test_perplexity"] < words / 4
    size = LanguageConfig(vocabulary=words, channels=16)
    found = Architecture.load(tmp_path / "run" / "architecture.json")
    network = RECURRENT.network(found, size)
    network.load_state_dict(load_file(tmp_path / "run" / "train" / "best.safetensors"))


def test_a_text_that_changed_is_not_gone_on_with(run: Run, text: Path) -> None:
    options = ["--data", f"text:{text}", *SMALL, "--epochs", 1, "--out", "found"]
    assert run("search", *options)[0] == 0
    with (text / "train.txt").open("a", encoding="utf-8") as stream:
        stream.write("w0 comet\n")
    code, _, err = run("resume", "found")
    assert code == 1
    assert "nasp: The text 'text:" in err
    assert "has changed since the run in found was begun" in err


@pytest.mark.parametrize("of", ["found", "found/train", "found/train/beside/lstm"])
def test_a_language_model_is_rebuilt_from_its_folder(run: Run, text: Path, of: str) -> None:
    searching = ["--epochs", 1, "--dropout", "embedding=0.3", "--out", "found"]
    assert run("search", "--data", f"text:{text}", *SMALL, *searching)[0] == 0
    fast = ["--epochs", 1, "--dropout", "input=0", "--beside", "lstm"]
    assert run("train", "found", *SMALL, *fast)[0] == 0
    rebuilt = rebuild(RunFolder.open(of))
    saved = load_file(f"{'found/train' if of == 'found' else of}/best.safetensors")
    kept = rebuilt.network.state_dict()
    assert all(torch.equal(kept[name], tensor) for name, tensor in saved.items())
    logits, _ = rebuilt.network(*rebuilt.example)
    assert logits.shape == (2, 35, 14)
    inherited = rebuild(RunFolder.open("found"), weights="inherit")
    dropout = inherited.network.get_submodule("embedding_dropout.dropout")
    assert isinstance(dropout, torch.nn.Dropout)
    assert dropout.p == 0.3
    assert inherited.network(*inherited.example)[0].shape == (2, 35, 14)
