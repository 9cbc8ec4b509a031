"""Image files as people have them: what is refused, in one sentence, and what goes on."""

from __future__ import annotations

import json
import shutil
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import pytest
from PIL import Image, ImageDraw

from nasp.cli import main

SMALL = ["--space", "nasbench201", "--channels", "4", "--cells", "1", "--workers", "0"]


class Done:
    """What a command left behind."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


class Run(Protocol):
    """Runs the command line in this process."""

    def __call__(self, *arguments: object) -> Done: ...


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["nasp", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return Done(int(ended.value.code or 0), out, err)

    return run


def image(path: Path, seed: int = 0, size: tuple[int, int] = (8, 8)) -> None:
    """Draw a square on noise: upper left for even seeds, lower right for odd ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 90, (*size[::-1], 3), dtype=np.uint8)
    half = slice(0, size[1] // 2) if seed % 2 == 0 else slice(size[1] // 2, None)
    pixels[half, half] += 150
    Image.fromarray(pixels).save(path)


def photos(base: Path, parts: tuple[str, ...] = ("train",), count: int = 6) -> Path:
    """Draw a folder of two classes."""
    for part in parts:
        for kind in (0, 1):
            for i in range(count):
                image(base / part / "ab"[kind] / f"{i}.png", 2 * i + kind)
    return base


def array(path: Path, values: object, dtype: type) -> None:
    """Write an image of that type of numbers."""
    Image.fromarray(np.full((8, 8), values, dtype)).save(path)


def bomb(path: Path) -> None:
    """Write the header of a PNG of 60,000 by 60,000 pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + b"\0\0\0\0IEND\xaeB`\x82")


def cut(path: Path, *, by: int = 2) -> None:
    """Cut a file to a half."""
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // by])


def jpeg(base: Path) -> None:
    """Write a JPEG that was not copied to its end."""
    image(base / "train/a/x.jpg", 1, (64, 64))
    cut(base / "train/a/x.jpg")


def thin_out(base: Path, names: tuple[str, ...], left: int) -> None:
    """Leave so many images to each of these classes."""
    for name in names:
        for path in sorted((base / name).iterdir())[left:]:
            path.unlink()


Make = Callable[[Path], object]

BAD: dict[str, tuple[Make, int, str]] = {
    "no folder": (shutil.rmtree, 2, "is not there"),
    "a file": (lambda b: (shutil.rmtree(b), b.write_text("x")), 2, "is no folder"),
    "nothing in it": (lambda b: shutil.rmtree(b / "train"), 2, "holds no class folders"),
    "empty train": (
        lambda b: (shutil.rmtree(b / "train"), (b / "train").mkdir()),
        *(2, "train holds no class folders"),
    ),
    "test alone": (lambda b: (b / "train").rename(b / "test"), 2, "no folder 'train'"),
    "val alone": (lambda b: (b / "train").rename(b / "valid"), 2, "no folder 'train'"),
    "loose images": (
        lambda b: (shutil.rmtree(b / "train"), image(b / "x.png")),
        *(2, "holds no class folders"),
    ),
    "loose in train": (
        lambda b: (shutil.rmtree(b / "train"), image(b / "train/x.png")),
        *(2, "holds no class folders"),
    ),
    "hidden classes": (
        lambda b: [(b / "train" / n).rename(b / "train" / f".{n}") for n in "ab"],
        *(2, "holds no class folders"),
    ),
    "one class": (lambda b: shutil.rmtree(b / "train/b"), 2, "one class only, 'a'"),
    "one folder too high": (
        lambda b: shutil.move(b / "train", b / "photos/train"),
        *(2, "one class only, 'photos'.* Is folder:photos/photos meant?"),
    ),
    "an empty class": (lambda b: (b / "train/c").mkdir(), 2, "train/c holds no images"),
    "a class of litter": (
        lambda b: ((b / "train/c").mkdir(), (b / "train/c/.DS_Store").write_text("x")),
        *(2, "train/c holds no images"),
    ),
    "1×1 images": (
        lambda b: [image(p, size=(1, 1)) for p in b.rglob("*.png")],
        *(2, "12 of 12 cannot be used.*too small (1×1 pixels).* and 7 more"),
    ),
    "a line of pixels": (
        lambda b: image(b / "train/a/x.png", size=(100, 3)),
        *(2, "train/a/x.png is too small (100×3 pixels)"),
    ),
    "an empty file": (lambda b: (b / "train/a/x.jpg").touch(), 1, "x.jpg is damaged"),
    "a text as image": (
        lambda b: (b / "train/a/x.jpg").write_text("no image"),
        *(1, "x.jpg is damaged (cannot identify"),
    ),
    "a web page as image": (
        lambda b: (b / "train/a/x.png").write_text("<html>404</html>"),
        *(1, "x.png is damaged"),
    ),
    "half a JPEG": (jpeg, 1, "x.jpg is damaged"),
    "half a PNG": (lambda b: cut(b / "train/a/0.png"), 1, "a/0.png is damaged"),
    "a JPEG's first bytes": (
        lambda b: (jpeg(b), cut(b / "train/a/x.jpg", by=100)),
        *(1, "x.jpg is damaged"),
    ),
    "a bomb": (lambda b: bomb(b / "train/a/x.png"), 1, "x.png is damaged (Image size"),
    "32-bit integers": (
        lambda b: array(b / "train/a/x.tiff", 9, np.int32),
        *(1, "x.tiff is damaged (its integers have 32 bits"),
    ),
    "floats up to 255": (
        lambda b: array(b / "train/a/x.tiff", 255, np.float32),
        *(1, "its floats lie outside 0..1"),
    ),
    "NaN": (lambda b: array(b / "train/a/x.tiff", np.nan, np.float32), 1, "outside 0..1"),
    "a text beside": (
        lambda b: (b / "train/a/notes.txt").write_text("x"),
        *(2, "train/a/notes.txt is not an image"),
    ),
    "an unknown format": (
        lambda b: (b / "train/a/x.heic").write_bytes(b"x"),
        *(2, "x.heic is not an image"),
    ),
    "a link to nothing": (
        lambda b: (b / "train/a/x.png").symlink_to("gone.png"),
        *(2, "x.png is not there"),
    ),
    "a name of two lines": (
        lambda b: (b / "train/a/x\ny.png").write_text("x"),
        *(1, "is damaged"),
    ),
    "a name that is no text": (
        lambda b: (b / "train/a" / b"x\xff.png".decode(errors="surrogateescape")).write_text("x"),
        *(1, "is damaged"),
    ),
    "alone in its class": (
        lambda b: image(b / "train/c/0.png"),
        *(2, "train/c/0.png is alone in its class"),
    ),
    "each alone": (
        lambda b: thin_out(b, ("train/a", "train/b"), 1),
        *(2, "2 of 2 cannot be used: train/a/0.png is alone in its class and train/b"),
    ),
    "too few for halves": (
        lambda b: thin_out(b, ("train/a", "train/b"), 2),
        *(2, "too few"),
    ),
    "test of other classes": (
        lambda b: (photos(b, ("test",)), (b / "test/b").rename(b / "test/c")),
        *(2, "train and test .* have different classes: 'b', 'c'"),
    ),
    "test without a class": (
        lambda b: (photos(b, ("test",)), shutil.rmtree(b / "test/b")),
        *(2, "'b' is only in one of them"),
    ),
    "test without classes": (
        lambda b: image(b / "test/0.png"),
        *(2, "test holds no class folders"),
    ),
    "val damaged": (
        lambda b: (photos(b, ("val",)), cut(b / "val/a/0.png")),
        *(1, "val/a/0.png is damaged"),
    ),
    "many at once": (
        lambda b: (jpeg(b), image(b / "train/c/0.png"), (b / "train/d").mkdir()),
        *(1, "3 of 14 cannot be used: train/d holds no images, train/a/x.jpg is damaged"),
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_folder_gets_one_sentence_and_leaves_nothing(
    run: Run, tmp_path: Path, what: str
) -> None:
    make, code, message = BAD[what]
    make(photos(tmp_path / "photos"))
    refuse(run, tmp_path, "folder:photos", code, message)


def refuse(run: Run, tmp_path: Path, data: str, code: int, message: str, *options: object) -> None:
    """Assert that a search ends with one sentence, and all files are as they were."""
    before = sorted(tmp_path.rglob("*"))
    done = run("search", "--data", data, *SMALL, "--epochs", "1", *options)
    assert sorted(path for path in tmp_path.rglob("*") if path.name != "runs") == before
    *told, sentence = done.err.splitlines()
    for part in message.split(".*"):
        assert part.strip() in sentence
    assert (done.code, done.out) == (code, "")
    assert sentence.startswith(("nasp: ", "Error: "))
    assert not any(line.startswith("nasp: ") for line in told)


CSV: dict[str, tuple[str, int, str]] = {
    "a path that leads nowhere": ("path,label\n0.png,A\n1.png,A\nx.png,B\n2.png,B\n", 2, "x.png"),
    "a damaged image": ("path,label\n0.png,A\n1.png,A\nbad.png,B\n2.png,B\n", 1, "bad.png"),
    "one class": ("path,label\n0.png,A\n1.png,A\n", 2, "one class only, 'A'"),
    "every class alone": ("path,label\n0.png,A\n1.png,B\n", 2, "alone in its class"),
    "no label": ("path,label\n0.png,A\n1.png,\n", 2, "Line 3"),
    "twice": ("path,label\n0.png,A\n0.png,B\n", 2, "Lines 2 and 3"),
    "an odd part": ("path,label,split\n0.png,A,x\n", 2, "part 'x'"),
    "nothing": ("", 2, "names no images"),
    "a folder as image": ("path,label\n0.png,A\n1.png,A\nd.png,B\n2.png,B\n", 2, "d.png"),
}


@pytest.mark.parametrize("what", CSV)
def test_a_bad_csv_gets_one_sentence_and_leaves_nothing(
    run: Run, tmp_path: Path, what: str
) -> None:
    text, code, message = CSV[what]
    for i in range(3):
        image(tmp_path / f"{i}.png", i)
    (tmp_path / "bad.png").write_text("x")
    (tmp_path / "d.png").mkdir()
    (tmp_path / "labels.csv").write_text(text)
    refuse(run, tmp_path, "csv:labels.csv", code, message)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ("folder:", [], "Unknown data 'folder:'"),
        ("csv:", [], "Unknown data 'csv:'"),
        ("csv:absent.csv", [], "absent.csv cannot be read"),
        ("folder:~nobody-of-this-name/x", [], "There is no folder ~nobody-of-this-name/x"),
        ("csv:photos", [], "photos cannot be read: Is a directory"),
        ("folder:photos", ["--image-size", "2"], "image-size"),
        ("folder:photos", ["--batch-size", "999"], "too few for a batch of 999"),
        ("folder:photos", ["--subset", "999"], "Cannot take 999 + 999 images out of 10"),
        ("folder:photos", ["--splits", "absent.json"], "There is no file absent.json"),
    ],
)
def test_bad_options_get_one_sentence_and_leave_nothing(
    run: Run, tmp_path: Path, data: str, options: list[str], message: str
) -> None:
    photos(tmp_path / "photos")
    refuse(run, tmp_path, data, 2, message, *options)


def test_with_skip_bad_the_search_goes_on_without(run: Run, tmp_path: Path) -> None:
    base = photos(tmp_path / "photos", count=12)
    jpeg(base)
    image(base / "train/c/0.png")
    (base / "train/d").mkdir()
    (base / "train/a/notes.txt").write_text("x")
    data = ["--data", "folder:photos", "--skip-bad", "--epochs", "1", "--out", "run"]
    done = run("search", *data, *SMALL)
    assert done.code == 0, done.err
    assert "Left out: train/d holds no images, train/a/notes.txt is not an image" in done.err
    kept = json.loads((tmp_path / "run/splits.json").read_text())
    assert set(kept["left_out"]) == {
        *("train/d", "train/a/notes.txt", "train/a/x.jpg", "train/c/0.png")
    }
    assert json.loads((tmp_path / "run/images.json").read_text())["classes"] == ["a", "b"]


def test_run_and_data_are_moved_and_used_from_elsewhere(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos(tmp_path / "photos", count=12)
    search = ["search", "--data", "folder:photos", *SMALL, "--epochs", "1"]
    assert run(*search, "--out", "first").code == 0
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    again = run("resume", tmp_path / "first", "--epochs", "2")
    assert again.code == 0, again.err
    shutil.move(tmp_path / "photos", elsewhere / "pictures")
    shutil.move(tmp_path / "first", elsewhere / "second")
    gone = run("resume", "second", "--epochs", "3")
    assert gone.code == 1
    assert "24 of the run's 24 images are gone" in gone.err
    assert "--data" in gone.err
    image(elsewhere / "pictures/train/a/new.png")
    moved = run("resume", "second", "--epochs", "3", "--data", "folder:pictures")
    assert moved.code == 0, moved.err
    assert json.loads((elsewhere / "second/config.json").read_text())["job"]["data"]["name"] == (
        f"folder:{elsewhere / 'pictures'}"
    )
    (elsewhere / "pictures").rename(elsewhere / "images")
    train = ["train", "second", "--epochs", "1", "--channels", "4", "--cells", "1"]
    other = run(*train, "--out", "third", "--data", "folder:images")
    assert other.code == 0, other.err
    splits = [json.loads((elsewhere / f / "splits.json").read_text()) for f in ("second", "third")]
    assert splits[0] == splits[1]
    shutil.rmtree(elsewhere / "images")
    assert run("export", "third").code == 0
    assert run("show", "second", "--no-latency").code == 0
    tested = json.loads((elsewhere / "third/test.json").read_text())
    assert tested.keys() == {"loss", "accuracy", "balanced_accuracy", "epoch"}


def shapes(base: Path, count: int = 40) -> Path:
    """Draw discs and crosses, each somewhere, of some size and colour, on some ground."""
    draws = np.random.default_rng(0)
    for kind in ("cross", "disc"):
        (base / kind).mkdir(parents=True)
        for i in range(count):
            ground, colour = (tuple(draws.integers(*r, 3).tolist()) for r in ((0, 99), (150, 255)))
            drawing = Image.new("RGB", (16, 16), ground)
            pen, radius = ImageDraw.Draw(drawing), int(draws.integers(3, 6))
            x, y = draws.integers(radius, 16 - radius, 2).tolist()
            if kind == "disc":
                pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
            else:
                pen.line((x - radius, y, x + radius, y), fill=colour, width=2)
                pen.line((x, y - radius, x, y + radius), fill=colour, width=2)
            drawing.save(base / kind / f"{i}.png")
    return base


def test_from_a_folder_of_shapes_to_a_network_that_knows_them(run: Run, tmp_path: Path) -> None:
    shapes(tmp_path / "shapes")
    done = run("search", "--data", "folder:shapes", *SMALL, "--epochs", "1", "--out", "found")
    assert done.code == 0, done.err
    size = ["--channels", "8", "--cells", "1", "--epochs", "6", "--lr", "0.1"]
    done = run("train", "found", *size)
    assert done.code == 0, done.err
    assert "No part val: the best epoch is chosen by 6 images" in done.err
    tested = json.loads((tmp_path / "found/train/test.json").read_text())
    assert tested["accuracy"] > 0.9
    evaluated = json.loads(run("evaluate", "found", "--json").out)
    assert evaluated["figures"]["accuracy"] == pytest.approx(tested["accuracy"])
