"""Which files are in which part, of folders and of CSV files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from nasp.domains.images.csv_file import list_csv
from nasp.domains.images.data import ImageConfig, ImageData, read_images
from nasp.domains.images.layouts import list_folder
from nasp.domains.images.splits_file import SPLITS, Splits
from nasp.errors import NaspError, UsageError
from nasp.training.events import Event, Noted

CPU = torch.device("cpu")


def read(name: str, **settings: object) -> tuple[ImageData, list[str]]:
    """Return what was read, and what was said of it."""
    said: list[str] = []

    def hear(event: Event) -> None:
        said.extend([event.message] if isinstance(event, Noted) else [])

    settings = {"workers": 0, "batch_size": 2, **settings}
    return read_images(ImageConfig(name=name, **settings), hear), said


def names(listing) -> dict[str, list[tuple[str, str]]]:
    return {part: [tuple(file) for file in files] for part, files in listing.parts.items()}


def test_parts_lie_as_they_lie_under_several_names(make_folder):
    base = make_folder(parts=("Training", "valid", "TEST"), images=1)
    assert names(list_folder(base)) == {
        part: [(f"{folder}/cat/000.jpg", "cat"), (f"{folder}/dog/000.jpg", "dog")]
        for part, folder in (("train", "Training"), ("val", "valid"), ("test", "TEST"))
    }


def test_classes_at_once_are_divided_by_a_seed_and_written_down(make_folder, tmp_path):
    base = make_folder(parts=(".",), images=20)
    (base / ".git").mkdir()
    (base / "__MACOSX").mkdir()
    (base / "readme.txt").write_text("x")
    data, said = read(f"folder:{base}")
    loaders = data.train_loaders(None, CPU, 0)
    assert data.images.classes == ("cat", "dog")
    counts = [len(part) for part in (data.images.train, data.images.held_out, data.images.test)]
    assert counts == [32, 3, 8]
    assert sum(len(y) for _, y in loaders.measured) == 3
    assert len(loaders.train) == (32 - 3) // 2
    assert [line.partition(":")[0] for line in said] == [
        "Files beside the class folders, 1, are left out.",
        "No part test",
        "2 classes, 16×16 pixels; images",
        "No part val",
    ]
    data.keep(tmp_path)
    kept = json.loads((tmp_path / SPLITS).read_text())
    everything = {f"{c}/{i:03}.jpg" for c in ("cat", "dog") for i in range(20)}
    train, test = ({n for c in kept["parts"][p].values() for n in c} for p in ("train", "test"))
    assert train | test == everything
    assert not train & test
    assert set(kept["held_out"]) < train
    assert read(f"folder:{base}")[0].images.splits == data.images.splits
    assert read(f"folder:{base}", split_seed=1)[0].images.splits != data.images.splits


def test_a_followed_split_holds_against_other_seeds_new_files_and_other_places(
    make_folder, tmp_path
):
    base = make_folder(parts=(".",), images=6)
    no_text = b"\xff.jpg".decode(errors="surrogateescape")
    (base / "cat/005.jpg").rename(base / "cat" / no_text)
    first, _ = read(f"folder:{base}")
    first.keep(tmp_path)
    base = base.rename(tmp_path / "moved")
    Image.new("RGB", (16, 16)).save(base / "cat/aaa.jpg")
    followed = ImageConfig(name=f"folder:{base}", split_seed=5).in_run(tmp_path)
    again = read_images(followed)
    again.keep(tmp_path)
    assert torch.equal(again.images.train.images, first.images.train.images)
    assert torch.equal(again.images.test.images, first.images.test.images)
    assert torch.equal(again.images.held_out, first.images.held_out)
    (base / "dog/000.jpg").write_bytes(b"\xff" * 9)
    (base / "dog/001.jpg").unlink()
    with pytest.raises(
        NaspError, match=r"^2 of the run's 12 images are gone or changed in .*--data"
    ):
        read_images(followed)


def test_other_data_are_divided_anew_and_moved_ones_are_not(make_folder, tmp_path):
    base = make_folder(parts=(".",), images=4)
    read(f"folder:{base}")[0].keep(tmp_path)
    config = ImageConfig(name=f"folder:{base}").in_run(tmp_path)
    assert config.moved(f"folder:{base.rename(tmp_path / 'there')}").splits == tmp_path / SPLITS
    (tmp_path / "others").mkdir()
    assert config.moved(f"folder:{tmp_path / 'others'}").splits is None


def test_a_csv_has_parts_classes_and_paths_from_its_folder(make_folder, monkeypatch):
    base = make_folder(parts=("train",), images=3)
    table = base / "labels.csv"
    rows = [
        f"train/{kind}/{i:03}.jpg;{kind};{part}"
        for kind in ("cat", "dog")
        for i, part in enumerate(("train", "TRAIN", "Validation"))
    ]
    table.write_text("\n".join(["filename;class;split", *rows, "", ""]), encoding="utf-8-sig")
    assert names(list_csv(table)) == {
        "train": [(f"train/{c}/{i:03}.jpg", c) for c in ("cat", "dog") for i in (0, 1)],
        "val": [(f"train/{c}/002.jpg", c) for c in ("cat", "dog")],
    }
    monkeypatch.chdir(base.parent)
    data, _ = read("csv:data/labels.csv")
    assert (len(data.images.train), len(data.images.val), len(data.images.test)) == (3, 2, 1)


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("nr,what,where,kind\n0,x,a.jpg,A\n1,y,b.jpg,B\n2,z,c.jpg,A\n", None),
        ("0,x,a.jpg,A\n1,y,b.jpg,B\n2,z,c.jpg,A\n", None),
        ("image\tclass\tk\na.jpg\t1\tA\nb.jpg\t2\tB\nc.jpg\t3\tA\n", "label=k"),
        ("label,path,k\nx,a.jpg,A\nx,b.jpg,B\nx,c.jpg,A\n", "label=k,path=path"),
    ],
)
def test_columns_are_found_by_what_is_in_them_or_said(tmp_path, text, columns):
    (tmp_path / "t.csv").write_text(text)
    found = list_csv(tmp_path / "t.csv", columns)
    assert names(found) == {"train": [("a.jpg", "A"), ("c.jpg", "A"), ("b.jpg", "B")]}


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        ("", None, "names no images"),
        ("path,label\n", None, "names no images"),
        ("path\na.jpg\n", None, "one column"),
        ("path,label\na.jpg,A,B\n", None, "Line 2 .* has 3 fields, and there are 2 columns"),
        ("path,label\na.jpg,\n", None, "Line 2 .* has no label"),
        ("path,label\n,A\n", None, "Line 2 .* has no path"),
        ("path,label\na.jpg,A\na.jpg,B\n", None, "Lines 2 and 3 .* both name a.jpg"),
        ("path,label,split\na.jpg,A,holdout\n", None, "Line 2 .* part 'holdout'"),
        ("path,label,split\na.jpg,A,test\n", None, "no image of the part 'train'"),
        ("a,b\n1,2\n", None, "No column .* names image files.*--csv-columns path=NAME"),
        ("path,score\na.jpg,0.1\nb.jpg,0.2\n", None, "looks like a class.*label=NAME"),
        ("path,label\na.jpg,A\n", "label=kind", "no column 'kind', only path, label"),
        ("path,label\na.jpg,A\n", "kind", "--csv-columns takes"),
        ('path,label\n"a.jpg,A\n', None, "no CSV file"),
        (b"path,label\n\xff\xfe,A\n", None, "no UTF-8"),
        (None, None, "cannot be read: No such file"),
    ],
)
def test_a_csv_that_is_none_gets_one_sentence(tmp_path: Path, text, columns, message):
    table = tmp_path / "t.csv"
    if text is not None:
        table.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=message) as caught:
        list_csv(table, columns)
    assert "\n" not in str(caught.value)


def test_splits_that_were_tampered_with_are_refused(make_folder, tmp_path):
    read(f"folder:{make_folder()}")[0].keep(tmp_path)
    for text in ('{"parts": 3}', '{"parts": {"test": {}}}', "[]", "{"):
        (tmp_path / SPLITS).write_text(text)
        with pytest.raises(NaspError, match=r"splits\.json"):
            Splits.read(tmp_path / SPLITS)


def test_a_file_of_a_run_that_was_damaged_since_is_named(make_folder, tmp_path):
    base = make_folder(parts=(".",), images=4)
    read(f"folder:{base}")[0].keep(tmp_path)
    victim = base / "cat/001.jpg"
    victim.write_bytes(b"x" * victim.stat().st_size)
    config = ImageConfig(name=f"folder:{base}", skip_bad=True).in_run(tmp_path)
    with pytest.raises(NaspError, match=r"cat/001\.jpg is damaged .* bring it back as it was"):
        read_images(config)
