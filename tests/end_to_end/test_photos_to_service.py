"""From a folder of drawn shapes to a file that tells them apart, without nasp."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from typer.testing import CliRunner

from nasp.cli import app
from tests.forks import WITHOUT_NASP, Server

SHAPES = ("circle", "cross", "square")
SERVED = """
import json, sys
sys.path.insert(0, ".")
from net import predict
print(json.dumps([max(found := predict(path), key=found.get) for path in {images}]))
"""


def draw(shape: str, seed: int) -> Image.Image:
    """Draw a shape of a random colour, size and place on noise."""
    random = np.random.default_rng(seed)
    picture = Image.fromarray(random.integers(0, 70, (32, 32, 3), dtype=np.uint8))
    left, top, side = (int(x) for x in random.integers((2, 2, 14), (12, 12, 18)))
    colour = tuple(int(x) for x in random.integers(150, 255, 3))
    pen, box = ImageDraw.Draw(picture), (left, top, left + side, top + side)
    if shape == "circle":
        pen.ellipse(box, outline=colour, width=3)
    elif shape == "square":
        pen.rectangle(box, outline=colour, width=3)
    else:
        pen.line(box, fill=colour, width=3)
        pen.line((left, top + side, left + side, top), fill=colour, width=3)
    return picture


def run(*arguments: object) -> str:
    """Run a command of nasp in this process; return what it prints."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.stdout


@pytest.mark.slow
def test_from_photos_to_service(server: Server, tmp_path: Path) -> None:
    for number, shape in enumerate(SHAPES):
        for i in range(60):
            part = tmp_path / "photos" / ("test" if i < 15 else "train") / shape
            part.mkdir(parents=True, exist_ok=True)
            draw(shape, 100 * number + i).save(part / f"{i}.png")
    found = tmp_path / "run"
    small = ("--batch-size", 15, "--workers", 0)
    space = ("--space", "mobile", "--channels", 8, "--cells", 1)
    bound = ("--at-most", "macs=2.3M", "--bound-at", "channels=8,cells=1")
    searched = ("search", "--data", f"folder:{tmp_path / 'photos'}", *space, *bound, *small)
    summary = json.loads(run(*searched, "--epochs", 2, "--out", found, "--json"))
    assert summary["bounds"][0]["reached"] <= 2.3e6
    run("train", found, "--epochs", 14, *small, "--json")
    told = json.loads(run("evaluate", found, "--json"))
    accuracy = told["figures"]["accuracy"] if "figures" in told else told["accuracy"]
    assert accuracy >= 0.8
    run("export", found, "--out", tmp_path / "net.py")
    images = sorted((tmp_path / "photos" / "test").rglob("*.png"))
    code = SERVED.format(images=list(map(str, images)))
    served = server.run((), WITHOUT_NASP + code, tmp_path)
    assert served.code == 0, served.err
    classes = json.loads(served.out)
    right = sum(path.parent.name == name for path, name in zip(images, classes, strict=True))
    assert right == round(accuracy * len(images))
