"""What is the same for every format: names of files, refusals, whole files."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import nn

import nasp
from nasp.errors import NaspError, UsageError
from nasp.exporters import FORMATS, Format, export, format_of, written_files
from nasp.jobs.rebuild import rebuild
from nasp.spaces import find_space

NETWORK = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
X = torch.randn(2, 4)


def test_it_is_a_public_name() -> None:
    assert nasp.export is export
    assert callable(nasp.export)


@pytest.mark.parametrize(
    ("path", "to", "found"),
    [
        (None, None, "python"),
        ("a.py", None, "python"),
        ("a.onnx", None, "onnx"),
        ("a.pt2", None, "torch"),
        ("a.onnx", "torch", "torch"),
        (None, "onnx", "onnx"),
    ],
)
def test_the_format(path: str | None, to: str | None, found: str) -> None:
    assert format_of(None if path is None else Path(path), to) == found


def test_every_format_is_registered_and_documented() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "export.md").read_text("utf-8")
    endings = [suffix for suffixes, _ in FORMATS.values() for suffix in suffixes]
    assert tuple(FORMATS) == get_args(Format)
    assert len(set(endings)) == len(endings)
    assert all(f"| `{name}` |" in page for name in FORMATS)
    assert all(suffixes[0] in page for suffixes, _ in FORMATS.values())


def test_no_such_format() -> None:
    with pytest.raises(UsageError, match="Unknown format 'onx': choose one of onnx, python, torch"):
        format_of(None, "onx")
    with pytest.raises(UsageError, match=r"Say the format of a.txt, by --to or its ending: .py, "):
        export(NETWORK, "a.txt", example=X)


def test_the_files_of_a_format() -> None:
    assert written_files(Path("a/net"), "python") == (
        Path("a/net.py"),
        Path("a/net.safetensors"),
    )
    assert written_files(Path("net.source"), "onnx") == (Path("net.source"),)
    assert written_files(Path("net"), "torch") == (Path("net.pt2"),)


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "net.py"
    for taken in (path, path.with_suffix(".safetensors")):
        taken.write_text("mine")
        with pytest.raises(UsageError, match=rf"{taken.name} is there already: say --force"):
            export(NETWORK, path, example=X)
        assert [file.read_text() for file in tmp_path.iterdir()] == ["mine"]
        taken.unlink()
    path.write_text("mine")
    exported = export(NETWORK, path, example=X, force=True)
    assert exported.files == (path, path.with_suffix(".safetensors"))
    assert "class Network" in path.read_text()
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(UsageError, match=r"folder\.py is a folder"):
        export(NETWORK, tmp_path / "folder.py", example=X, force=True)


def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.pt2"
    path.write_text("mine")

    def broken(*_: Any, **__: Any) -> None:
        raise ValueError("a reason\nand more")

    monkeypatch.setattr(torch.export, "export", broken)
    with pytest.raises(NaspError, match=r"^torch.export cannot export this network: a reason$"):
        export(NETWORK, path, example=X, force=True)
    assert path.read_text() == "mine"


def test_outputs_that_differ_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export(nn.Linear(4, 3), tmp_path / "other.pt2", example=X)
    other = torch.export.load(tmp_path / "other.pt2")
    monkeypatch.setattr(torch.export, "load", lambda _: other)
    with pytest.raises(NaspError, match="does not agree with the network on a batch of 1: nothing"):
        export(NETWORK, tmp_path / "net.pt2", example=X)
    assert not (tmp_path / "net.pt2").exists()


def test_onnx_without_its_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if "runtime" in name else find(name)
    )
    with pytest.raises(UsageError, match=r"needs onnxruntime: pip install 'nasp-torch\[onnx\]'"):
        export(NETWORK, tmp_path / "net.onnx", example=X)
    assert not list(tmp_path.iterdir())


def test_random_state_and_modes_are_left_alone(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5))
    network[1].eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.get_rng_state()
    export(network, tmp_path / "net.py", example=X)
    export(network, tmp_path / "net.pt2", example=X)
    assert torch.equal(torch.get_rng_state(), state)
    assert [module.training for module in network] == [True, False, True]
    assert all(torch.equal(before[name], t) for name, t in network.state_dict().items())


def test_the_file_in_the_documentation_is_what_is_written(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "export.md").read_text("utf-8")
    whole = page.partition('```python\n"""A network')[2].partition("```\n")[0]
    cell = next(line for line in whole.splitlines() if line.startswith("|"))
    rebuilt = rebuild(find_space("nasbench201").parse(cell), size={"cells": 5})
    path = tmp_path / "net.py"
    export(rebuilt.network, path, example=rebuilt.example, about=rebuilt.about)
    assert path.read_text() == f'"""A network{whole}'


def test_what_a_file_says_of_itself(tmp_path: Path) -> None:
    export(NETWORK, tmp_path / "net.py", example=X, about="Genotype(normal=[])")
    text = (tmp_path / "net.py").read_text()
    assert "Genotype(normal=[])" in text
    assert "Map [B,4] to [B,3]. 15 parameters." in text
    quoted = 'From C:\\new: """any\nthing"""'
    export(NETWORK, tmp_path / "net.py", example=X, about=quoted, force=True)
    said = ast.get_docstring(ast.parse((tmp_path / "net.py").read_text())) or ""
    assert 'From C:\\new: """any thing"""' in said
    export(NETWORK, tmp_path / "net.pt2", example=X, about="Genotype()")
    extra = {"about.txt": ""}
    torch.export.load(tmp_path / "net.pt2", extra_files=extra)
    assert extra == {"about.txt": "Genotype()"}
