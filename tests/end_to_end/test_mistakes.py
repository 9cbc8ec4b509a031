"""A mistake that shows before the first step leaves no folder behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.forks import Server


@pytest.mark.slow
def test_a_corrected_retry_may_use_the_same_folder(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    small = ["--channels", 4, "--epochs", 1, "--subset", 40, "--no-train", "--out", folder]

    wrong = server.run(["search", *small, "--batch-size", 99])
    assert wrong.code == 2
    assert "too few" in wrong.err
    assert not folder.exists()

    right = server.run(["search", *small, "--batch-size", 20])
    assert right.code == 0, right.err
    assert (folder / "architecture.json").is_file()
