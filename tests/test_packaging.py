"""What is released: the wheel and the sdist, what they declare, and that they run by themselves."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
VERSIONS = re.findall(r'"Programming Language :: Python :: (3\.\d+)"', PROJECT)


def run(*command: object, cwd: Path | None = None) -> str:
    """Run a command as a user has it, without this checkout on the path."""
    environment = {name: v for name, v in os.environ.items() if name != "PYTHONPATH"}
    call = [str(part) for part in command]
    done = subprocess.run(call, capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_wheel_and_sdist_build_and_run_in_a_bare_environment(tmp_path: Path) -> None:
    for tool in ("hatchling", "pip"):
        pytest.importorskip(tool)
    run(sys.executable, "-m", "hatchling", "build", "-d", tmp_path / "dist", cwd=ROOT)
    (wheel,) = (tmp_path / "dist").glob("nasp_torch-*-py3-none-any.whl")
    (sdist,) = (tmp_path / "dist").glob("nasp_torch-*.tar.gz")
    files = set(zipfile.ZipFile(wheel).namelist())
    sources = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src/nasp").rglob("*.*")}
    kept = {path for path in sources if "__pycache__" not in path and "." in Path(path).name}
    assert {path for path in files if ".dist-info" not in path} == kept
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / sdist.name.removesuffix(".tar.gz")
    again = ["build", "-t", "wheel", "-d", tmp_path / "again"]
    run(sys.executable, "-m", "hatchling", *again, cwd=unpacked)
    (second,) = (tmp_path / "again").iterdir()
    assert set(zipfile.ZipFile(second).namelist()) == files

    # Bare, but that torch and the like are those of this environment: nothing is fetched.
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    install = ["install", "-q", "--no-deps", "--no-index", "--no-compile"]
    run(sys.executable, "-m", "pip", "--python", python, *install, wheel)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    Path(site, "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert run(python, "-c", "import nasp; print(nasp.__file__)").startswith(site)
    nasp = python.with_name("nasp")
    assert re.search(r'^version = "(.+)"$', PROJECT, re.M)[1] in run(nasp, "--version")  # type: ignore[index]
    small = ["--epochs", 1, "--subset", 64, "--channels", 4, "--no-train", "--out", "run"]
    told = json.loads(run(nasp, "search", *small, "--json", cwd=tmp_path))
    assert told["epochs"] == 1
    assert (tmp_path / "run" / "architecture.json").is_file()


def test_what_is_declared_is_tried_and_cited() -> None:
    assert VERSIONS == ["3.10", "3.11", "3.12", "3.13", "3.14"]
    assert f'requires-python = ">={VERSIONS[0]}"' in PROJECT
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text("utf-8"))
    matrix = workflow["jobs"]["versions"]["strategy"]["matrix"]
    assert matrix["python"] == VERSIONS
    oldest = re.findall(r'"(torch(?:vision)?)>=([\d.]+)"', PROJECT)
    held = " ".join(f"{name}=={version}.*" for name, version in oldest)
    assert matrix["include"][0] == {"python": "3.10", "os": "ubuntu-latest", "torch": held}
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.M)
    for job in workflow["jobs"].values():
        for step in job["steps"]:
            for target in re.findall(r"^make ([a-z-]+)", step.get("run", ""), re.M):
                assert target in targets
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert f'version = "{citation["version"]}"' in PROJECT
    for form in (ROOT / ".github/ISSUE_TEMPLATE").glob("*_*.yml"):
        content = yaml.safe_load(form.read_text("utf-8"))
        assert content["name"]
        assert all(part["attributes"]["label"] for part in content["body"])
