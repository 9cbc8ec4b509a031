"""``nasp export``: from a search to a file that runs alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import onnxruntime
import pytest

from nasp.cli import main
from tests.forks import WITHOUT_NASP, Server

SMALL = ["--channels", "4", "--cells", "1", "--epochs", "1", "--subset", "32"]
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"


@pytest.mark.slow
def test_search_train_and_export(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    def here(*arguments: str, code: int = 0) -> tuple[str, str]:
        monkeypatch.setattr(sys, "argv", ["nasp", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert (ended.value.code or 0) == code
        said = capsys.readouterr()
        return said.out, said.err

    here("search", *SMALL, "--batch-size", "16", "--no-train", "--out", "run")
    out, _ = here("export", "run")
    assert "Wrote run/network.py and run/network.safetensors" in out
    assert "not trained on their own" in out
    assert "nasp train run" in out

    _, err = here("export", "run", code=2)
    assert err.startswith("nasp: run/network.py is there already: say --force")

    here("train", "run", *SMALL, "--batch-size", "16")
    done = server.run(["export", "run", "--force", "--json"], cwd=tmp_path)
    summary = json.loads(done.out)
    assert done.err == ""
    assert summary == {
        "to": "python",
        "files": ["run/network.py", "run/network.safetensors"],
        "weights": "best",
        "run": "run/train",
        "trained": True,
        "max_difference": 0.0,
        "next": "python run/network.py",
    }
    assert runs_alone(server, tmp_path, "run/network.py").endswith(" parameters\n")


@pytest.mark.slow
def test_a_language_model_and_the_lstm_beside_it(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    def command(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["nasp", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return capsys.readouterr().out

    Path("text").mkdir()
    for part in ("train", "valid", "test"):
        Path(f"text/{part}.txt").write_text("one two three four five six\n" * 8)
    size = ["--channels", "4", "--batch-size", "2", "--bptt", "5", "--epochs", "1"]
    command("search", "--data", "text:text", *size, "--no-train", "--out", "run")
    assert "not trained on their own" in command("export", "run", "--tokens", "3")
    assert "Map [B,3] and [B,4] to ([B,3,7], [B,4])" in Path("run/network.py").read_text()

    command("train", "run", *size, "--beside", "lstm")
    assert "best epoch of the training in run/train" in command("export", "run", "--force")
    runs_alone(server, tmp_path, "run/network.py")
    command("export", "run/train/beside/lstm", "--tokens", "2")
    assert "nn.LSTM(" in Path("run/train/beside/lstm/network.py").read_text()


def runs_alone(server: Server, folder: Path, file: str) -> str:
    """Return what an exported file prints where nasp cannot be imported."""
    code = f"import runpy; runpy.run_path({file!r}, run_name='__main__')"
    ran = server.run((), WITHOUT_NASP + code, folder)
    assert ran.code == 0, ran.err
    return ran.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((CELL, "--weights", "best"), "An architecture has no best weights"),
        ((CELL, "--to", "onx"), "Unknown format 'onx'"),
        ((CELL, "--out", "net.txt"), "Say the format of net.txt"),
        ((CELL, "--vocabulary", "9"), "Setting 'vocabulary' of a network of space 'nasbench201'"),
        ((CELL, "--out", "taken.py"), "taken.py is there already: say --force"),
        ((CELL, "--dynamic", "2,high"), "--dynamic 2,high names no dimensions"),
        ((CELL, "--opset", "18"), "opset is for ONNX alone"),
        (("nowhere",), "There is no run folder, file or architecture 'nowhere'"),
    ],
)
def test_mistakes(
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("taken.py").touch()
    monkeypatch.setattr(sys, "argv", ["nasp", "export", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith(f"nasp: {message}")
    assert [path.name for path in tmp_path.iterdir()] == ["taken.py"]


def test_a_torch_program_of_an_architecture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    size = ["--channels", "2", "--cells", "1", "--image-size", "8", "--classes", "3"]
    monkeypatch.setattr(sys, "argv", ["nasp", "export", CELL, *size, "--to", "torch"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    out = capsys.readouterr().out
    assert "Wrote network.pt2\nLargest difference of its outputs when loaded" in out
    assert "newly drawn, not trained" in out
    assert [path.name for path in tmp_path.iterdir()] == ["network.pt2"]


def test_an_onnx_model_of_any_image_with_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    size = ["--channels", "2", "--cells", "1", "--image-size", "8", "--classes", "3"]
    asked = ["--dynamic", "2,3", "--opset", "19", "--input-names", "image"]
    model = ["--to", "onnx", *asked, "--output-names", "logits"]
    monkeypatch.setattr(sys, "argv", ["nasp", "export", CELL, *size, *model])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code, capsys.readouterr().err
    session = onnxruntime.InferenceSession("network.onnx")
    (image,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.shape) == ("image", ["batch", 3, "height", "width"])
    assert (logits.name, logits.shape[1]) == ("logits", 3)
