"""A mistake that shows before the first step leaves no folder behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_corrected_retry_may_use_the_same_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-c", "from nasp.cli import main; main()", "search", "--no-train"]
    small = ["--channels", "4", "--epochs", "1", "--subset", "40", "--out", str(folder)]

    wrong = subprocess.run([*command, *small, "--batch-size", "99"], capture_output=True, text=True)
    assert wrong.returncode == 2
    assert "too few" in wrong.stderr
    assert not folder.exists()

    right = subprocess.run([*command, *small, "--batch-size", "20"], capture_output=True, text=True)
    assert right.returncode == 0, right.stderr
    assert (folder / "architecture.json").is_file()
