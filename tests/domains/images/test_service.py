"""Networks of images on files: in nasp, and in what is exported, with the same preparation."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch
from PIL import Image
from torch import nn

from nasp.domains.images.preparation import Preparation
from nasp.domains.images.service import IN_SERVICE, ImageService
from nasp.errors import NaspError, UsageError
from nasp.exporters import export
from nasp.exporters.opened import open_export
from nasp.jobs.job import begin
from nasp.jobs.options import train_job
from nasp.jobs.rebuild import rebuild
from nasp.jobs.train import run_train_job
from nasp.runs.folder import RunFolder
from nasp.spaces import find_space

ROOT = Path(__file__).resolve().parents[3]
CELL = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_1x1~2|"
CLASSES = ("cat", "dög 'old'", "owl")

# Where nasp cannot be imported: what an exported file says of files, a line of JSON each.
ELSEWHERE = """
import json, runpy, sys
sys.modules["nasp"] = sys.modules["numpy"] = sys.modules["torchvision"] = None
import torch
torch.set_num_threads(1)
for export, *files in json.load(sys.stdin):
    predict = runpy.run_path(export)["predict"]
    print(json.dumps([predict(file) for file in files]))
"""


def write_images(folder: Path, count: int, side: Callable[[int], tuple[int, int]]) -> None:
    """Write noise of a class's colour, every image in another mode."""
    generator = torch.Generator().manual_seed(count)
    for label, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            array = torch.randint(150, (*side(i), 3), generator=generator, dtype=torch.uint8)
            array[..., label] += 80
            image, exif = Image.fromarray(array.numpy()), Image.Exif()
            exif[274] = 1 + i % 8
            alpha = array[..., 0].numpy()
            match i % 5:
                case 1:
                    image.putalpha(Image.fromarray(alpha))
                case 2:
                    image = Image.fromarray(alpha.astype("uint16") * 257)
                case 3:
                    image = image.quantize(16)
                case 4:
                    image = image.convert("L")
            image.save(folder / name / f"{i}.png", exif=exif)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunFolder]:
    """Return trainings on folders of images of one size, and of many, with their exports."""
    made = {}
    for fit in ("whole", "margin"):
        folder, is_whole = tmp_path_factory.mktemp(fit), fit == "whole"
        for part, count in (("train", 12), ("test", 10)):
            place = folder / "data" / part
            write_images(place, count, lambda i, w=is_whole: (12, 12) if w else (9 + i, 31 - 2 * i))
        data = {"name": f"folder:{folder / 'data'}", "batch_size": 8, "workers": 0}
        if not is_whole:
            data["image_size"] = 12
        recipe = {"epochs": 3, "lr": 0.1, "device": "cpu"}
        size = {"channels": 4, "cells": 1}
        job = train_job(find_space("nasbench201").parse(CELL), data, size, recipe, [])
        made[fit] = begin(folder / "run", job)
        run_train_job(job, made[fit])
        found = rebuild(made[fit])
        path = folder / "net.py"
        export(found.network, path, example=found.example, about="a", service=found.service)
    return made


def held_out(run: RunFolder) -> list[Path]:
    return sorted((run.path.parent / "data" / "test").rglob("*.png"))


def test_without_nasp_a_file_has_the_runs_accuracy_to_the_last_image(
    runs: dict[str, RunFolder],
) -> None:
    asked = [[run.path.parent / "net.py", *held_out(run)] for run in runs.values()]
    done = subprocess.run(
        [sys.executable, "-I", "-c", ELSEWHERE],
        input=json.dumps(asked, default=str),
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    for (fit, run), answer in zip(runs.items(), done.stdout.splitlines(), strict=True):
        files, rows, kept = held_out(run), json.loads(answer), Preparation.read(run.path)
        right = [next(iter(row)) == file.parent.name for row, file in zip(rows, files, strict=True)]
        tested = json.loads((run.path / "test.json").read_text())
        assert kept.fit == fit
        assert sum(right) / len(files) == pytest.approx(tested["accuracy"], abs=1e-6)
        assert 0.34 < tested["accuracy"] < 1
        network = rebuild(run).network.eval()
        for row, file in zip(rows, files, strict=True):
            with torch.no_grad():
                expected = network(kept.tensor(file)[None])[0].softmax(0)
            assert list(row.values()) == sorted(row.values(), reverse=True)
            assert [row[name] for name in CLASSES] == expected.tolist()


@pytest.mark.parametrize("fit", ["whole", "margin"])
def test_every_export_prepares_files_alike(
    fit: str, runs: dict[str, RunFolder], tmp_path: Path
) -> None:
    files, kept = held_out(runs[fit])[:12], Preparation.read(runs[fit].path)
    layers = nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3)
    network, x = nn.Sequential(*layers).eval(), torch.randn(2, 3, 12, 12)
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    expected = torch.cat([network(kept.tensor(file)[None]) for file in files])
    for name in ("net.onnx", "net.pt2", "raw.pt2"):
        is_raw, path = name == "raw.pt2", tmp_path / name
        export(network, path, example=x, service=ImageService(kept), raw=is_raw)
        opened = open_export(path, IN_SERVICE.of_said)
        assert tuple(opened.classes) == CLASSES
        assert opened.batch == (1 if is_raw else None)
        found = torch.cat([opened.logits(opened.prepare(file)[None]) for file in files])
        close = 1e-5 if fit == "whole" or not is_raw else 1e-2
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=close)
        if is_raw:
            assert opened.prepare(files[0]).dtype == torch.uint8
            for shape in ((3, 50, 20, 3), (1, 12, 12, 3), (2, 14, 14, 3), (2, 13, 200, 3)):
                images = torch.randint(256, shape, dtype=torch.uint8)
                assert opened.logits(images).shape == (shape[0], 3)
    (said,) = onnx.load(tmp_path / "net.onnx").metadata_props
    assert (said.key, Preparation.model_validate_json(said.value)) == ("service.json", kept)


@pytest.mark.slow
def test_the_source_passes_ruff_and_strict_mypy(runs: dict[str, RunFolder]) -> None:
    file, tool = runs["margin"].path.parent / "net.py", Path(sys.executable).with_name("ruff")
    for command in (
        [tool, "check", f"--config={ROOT / 'pyproject.toml'}", "--extend-select=ANN,A", file],
        [tool, "check", "--isolated", file],
        [tool, "format", "--check", "--isolated", "--config=line-length=88", file],
        [tool, "format", "--check", "--isolated", "--config=line-length=100", file],
        [sys.executable, "-m", "mypy", "--strict", file],  # in one cache with `make lint`
    ):
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
        assert done.returncode == 0, done.stdout


def service() -> ImageService:
    numbers = {"in_channels": 1, "image_size": 4, "mean": (0.5,), "std": (0.5,)}
    return ImageService(Preparation(classes=("a", "b"), fit="whole", **numbers))


def test_a_fixed_batch_is_known(tmp_path: Path) -> None:
    network, x = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), torch.randn(2, 1, 4, 4)
    for name in ("net.pt2", "net.onnx"):
        export(network, tmp_path / name, example=x, service=service(), batch=3)
        assert open_export(tmp_path / name, IN_SERVICE.of_said).batch == 3


def test_files_that_cannot_be_used(tmp_path: Path) -> None:
    network, x = nn.Sequential(nn.Flatten(), nn.Linear(16, 2)), torch.randn(2, 1, 4, 4)
    for name in ("net.py", "net.onnx", "net.pt2"):
        export(network, tmp_path / name, example=x)
        with pytest.raises(UsageError, match="does not say how files become its input"):
            open_export(tmp_path / name, IN_SERVICE.of_said)
        (tmp_path / name).write_text("damaged(")
        with pytest.raises(NaspError, match=f"Cannot read the network in .*{name}: "):
            open_export(tmp_path / name, IN_SERVICE.of_said)
    for path in (tmp_path / "absent.onnx", tmp_path / "net.safetensors"):
        with pytest.raises(UsageError, match="no run folder or exported file"):
            open_export(path, IN_SERVICE.of_said)
    with pytest.raises(UsageError, match="in batches of any size: leave out batch and dynamic"):
        export(network, tmp_path / "r.pt2", example=x, raw=True, service=service(), batch=2)
    for options in ({"service": service(), "to": "onnx"}, {"to": "torch"}):
        with pytest.raises(UsageError, match="Raw bytes are for --to torch"):
            export(network, tmp_path / "raw", example=x, raw=True, **options)
