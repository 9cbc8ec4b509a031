"""Nothing of nasp asks at import for what only Unix has; run in a process that lacks it."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Before all else: whatever imports one of them finds it missing, as it does on Windows.
WITHOUT = """
import sys
for name in ("fcntl", "resource"):
    sys.modules[name] = None
"""
EVERY_MODULE = """
import importlib, pkgutil
import nasp
for module in pkgutil.walk_packages(nasp.__path__, "nasp."):
    importlib.import_module(module.name)
print("imported")
"""
HELP = """
from nasp.cli import main
sys.argv = ["nasp", "--help"]
main()
"""
MEMORY = """
from pathlib import Path
import torch
from nasp.bench.steps import memory
memory.STATUS = memory.CLEAR_REFS = Path("nowhere/status")
memory.PeakMemory(torch.device("cpu"))
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT + code]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def test_the_help_is_printed() -> None:
    done = run(HELP)
    assert done.returncode == 0, done.stderr
    assert "search" in done.stdout


@pytest.mark.slow
def test_every_module_is_imported_and_no_peak_memory_is_told() -> None:
    done = run(EVERY_MODULE + MEMORY)
    assert done.stdout == "imported\n", done.stderr
    assert "NaspError: This system does not tell how much memory" in done.stderr
