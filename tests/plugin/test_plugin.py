"""A strategy and a space of another distribution: its own tests, and the installed command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TOY = Path(__file__).parent / "toy"


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return an environment in which the toy is installed as `pip install -e` would do it."""
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
    before = os.environ.get("PYTHONPATH")
    path = os.pathsep.join([str(site), str(TOY), *([before] if before else [])])
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}


def nasp(environment: dict[str, str], *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the installed command."""
    command = [Path(sys.executable).with_name("nasp"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


IN_ONE_PROCESS = """
import contextlib, io, json, sys
from nasp.cli import main
done = []
for arguments in json.load(sys.stdin):
    sys.argv, code = ["nasp", *arguments], 0
    with contextlib.redirect_stdout(io.StringIO()) as out:
        with contextlib.redirect_stderr(io.StringIO()) as err:
            try:
                main()
            except SystemExit as ended:
                code = ended.code or 0
    done.append([code, out.getvalue(), err.getvalue()])
print(json.dumps(done))
"""


class Done(NamedTuple):
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def nasp_each(environment: dict[str, str], *commands: Sequence[object]) -> list[Done]:
    """Run commands one after the other in one process: to start one takes seconds."""
    asked = json.dumps([[str(argument) for argument in command] for command in commands])
    python = [sys.executable, "-c", IN_ONE_PROCESS]
    done = subprocess.run(
        python, input=asked, capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return [Done(*each) for each in json.loads(done.stdout)]


@pytest.mark.slow
def test_its_own_tests_pass(toy: dict[str, str]) -> None:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA"]
    done = subprocess.run(command, capture_output=True, text=True, env=toy, cwd=TOY, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:]
    for test in ("TestStrategy::test_same_seed", "TestSpace::test_derived_networks"):
        assert f"PASSED tests/test_toy.py::{test}" in done.stdout


@pytest.mark.slow
def test_it_searches_trains_and_leaves(toy: dict[str, str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    asked = ["--space", "toy", "--strategy", "toy", "--set", "lr=0.5", "--channels", 4]
    done = nasp(toy, "search", *asked, "--epochs", 2, "--subset", 60, "--no-train", "--out", run)
    assert done.returncode == 0, done.stderr
    job = json.loads((run / "config.json").read_text())["job"]
    assert job["space"] == job["search"]["strategy"] == "toy"
    small = ["--epochs", 1, "--channels", 4, "--subset", 60]
    trained = tmp_path / "trained"
    found = json.loads((run / "architecture.json").read_text())["edges"].values()
    each = nasp_each(
        toy,
        ["show", run, "--json"],
        ["resume", run],
        ["train", run, *small, "--out", trained],
        ["export", trained, "--out", tmp_path / "net.py"],
        ["show", f"toy({', '.join(found)})", "--json"],
    )
    assert [done.returncode for done in each] == [0] * 5, [done.stderr for done in each]
    notations = [json.loads(each[i].stdout)["architecture"]["notation"] for i in (0, -1)]
    assert all(notation.startswith("toy(") for notation in notations)
    assert "ToyCell" in (tmp_path / "net.py").read_text()


@pytest.mark.slow
def test_a_third_kind_of_data_is_searched_and_trained(toy: dict[str, str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = nasp(toy, "search", "--data", "wine", "--out", run, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["architecture"]["notation"].startswith("table(")
    rows = summary["training"]
    assert [row["name"] for row in rows] == ["found", "random-1", "tanh"]
    assert rows[0]["best_test_accuracy"] > 0.8
    before = (run / "metrics.jsonl").read_text()
    resumed, left, of_images, cut_out = nasp_each(
        toy,
        ["resume", run],
        ["export", run / "train", "--out", tmp_path / "net.py"],
        ["search", "--data", "wine", "--space", "darts", "--out", tmp_path / "wrong"],
        ["search", "--data", "wine", "--cutout", 3, "--out", tmp_path / "wrong"],
    )
    assert (resumed.returncode, left.returncode) == (0, 0), resumed.stderr + left.stderr
    assert (run / "metrics.jsonl").read_text() == before
    assert "'wine' is table: choose one of table, or other --data." in of_images.stderr
    assert cut_out.returncode == 2
    assert "--cutout is for images: leave it out with 'wine'." in cut_out.stderr


def test_unknown_names_are_told_the_toys(toy: dict[str, str], tmp_path: Path) -> None:
    asked = [("--strategy", "tyo", "toy"), ("--space", "tyo", "toy"), ("--data", "wien", "wine")]
    out = ("--out", tmp_path / "run")
    each = nasp_each(toy, *(("search", option, near, *out) for option, near, _ in asked))
    for done, (_, _, name) in zip(each, asked, strict=True):
        assert done.returncode == 2
        assert f"Did you mean '{name}'?" in done.stderr
        assert "Traceback" not in done.stderr


def test_where_it_is_not_installed_its_name_is_unknown(tmp_path: Path) -> None:
    done = nasp(dict(os.environ), "search", "--strategy", "toy", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "Unknown strategy 'toy'" in done.stderr
