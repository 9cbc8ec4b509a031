"""A strategy and a space of another distribution: its own tests, and the installed command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.forks import Child, Server

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOY = Path(__file__).parent / "toy"


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return what to put first where Python looks, to have what `pip install -e` would install."""
    project: dict[str, Any] = tomllib.loads((TOY / "pyproject.toml").read_text("utf-8"))["project"]
    name, version = project["name"], project["version"]
    site = tmp_path_factory.mktemp("site")
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    points = [
        f"[{group}]\n" + "".join(f"{point} = {value}\n" for point, value in of_group.items())
        for group, of_group in project["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(points))
    return [str(site), str(TOY)]


Command = Callable[..., Child]


@pytest.fixture
def nasp(server: Server, toy: list[str]) -> Command:
    """Return what runs the command where the toy is installed."""
    return lambda *arguments: server.run(arguments, f"import sys; sys.path[:0] = {toy}")


@pytest.mark.slow
def test_its_own_tests_pass(server: Server, toy: list[str]) -> None:
    first = f"import sys, pytest; sys.path[:0] = {toy}"
    done = server.run((), f"{first}; sys.exit(pytest.main(['-p', 'no:cacheprovider', '-rA']))", TOY)
    assert done.code == 0, done.out[-3000:]
    for test in ("TestStrategy::test_same_seed", "TestSpace::test_derived_networks"):
        assert f"PASSED tests/test_toy.py::{test}" in done.out


@pytest.mark.slow
def test_it_searches_trains_and_leaves(nasp: Command, toy: list[str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    asked = ["--space", "toy", "--strategy", "toy", "--set", "lr=0.5", "--channels", "4"]
    few = ["--epochs", "2", "--subset", "60", "--no-train", "--out", str(run)]
    command = [Path(sys.executable).with_name("nasp"), "search", *asked, *few]
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([*toy, *([before] if before else [])])
    environment = {**os.environ, "PYTHONPATH": path}
    installed = subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=300
    )
    assert installed.returncode == 0, installed.stderr
    job = json.loads((run / "config.json").read_text())["job"]
    assert job["space"] == job["search"]["strategy"] == "toy"
    small = ["--epochs", 1, "--channels", 4, "--subset", 60]
    trained = tmp_path / "trained"
    found = json.loads((run / "architecture.json").read_text())["edges"].values()
    commands: list[list[object]] = [
        ["show", run, "--json"],
        ["resume", run],
        ["train", run, *small, "--out", trained],
        ["export", trained, "--out", tmp_path / "net.py"],
        ["show", f"toy({', '.join(found)})", "--json"],
    ]
    each = [nasp(*command) for command in commands]
    assert [done.code for done in each] == [0] * 5, [done.err for done in each]
    notations = [json.loads(each[i].out)["architecture"]["notation"] for i in (0, -1)]
    assert all(notation.startswith("toy(") for notation in notations)
    assert "ToyCell" in (tmp_path / "net.py").read_text()


@pytest.mark.slow
def test_a_third_kind_of_data_is_searched_and_trained(nasp: Command, tmp_path: Path) -> None:
    run, wine = tmp_path / "run", ("--data", "wine")
    done = nasp("search", *wine, "--out", run, "--json")
    assert done.code == 0, done.err
    summary = json.loads(done.out)
    assert summary["architecture"]["notation"].startswith("table(")
    rows = summary["training"]
    assert [row["name"] for row in rows] == ["found", "random-1", "tanh"]
    # A search of eight steps finds what it finds; the data can be learned.
    assert max(row["best_test_accuracy"] for row in rows) > 0.8
    before = (run / "metrics.jsonl").read_text()
    resumed = nasp("resume", run)
    left = nasp("export", run / "train", "--out", tmp_path / "net.py")
    assert (resumed.code, left.code) == (0, 0), resumed.err + left.err
    assert (run / "metrics.jsonl").read_text() == before
    wrong = ("search", *wine, "--out", tmp_path / "wrong")
    of_images, cut_out = nasp(*wrong, "--space", "darts"), nasp(*wrong, "--cutout", 3)
    assert "'wine' is table: choose one of table, or other --data." in of_images.err
    assert cut_out.code == 2
    assert "--cutout is for images: leave it out with 'wine'." in cut_out.err


@pytest.mark.parametrize(
    ("option", "near", "name"),
    [("--strategy", "tyo", "toy"), ("--space", "tyo", "toy"), ("--data", "wien", "wine")],
)
def test_unknown_names_are_told_the_toys(
    nasp: Command, option: str, near: str, name: str, tmp_path: Path
) -> None:
    done = nasp("search", option, near, "--out", tmp_path / "run")
    assert done.code == 2
    assert f"Did you mean '{name}'?" in done.err
    assert "Traceback" not in done.err


def test_where_it_is_not_installed_its_name_is_unknown(server: Server, tmp_path: Path) -> None:
    done = server.run(["search", "--strategy", "toy", "--out", tmp_path / "run"])
    assert done.code == 2
    assert "Unknown strategy 'toy'" in done.err
