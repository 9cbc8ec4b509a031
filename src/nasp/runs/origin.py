"""What a run was begun with beside its settings: the command, the versions, the commit."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def origin() -> dict[str, Any]:
    """Return the command (None where it was not nasp's own), the versions and the git commit."""
    name, *arguments = sys.argv or [""]
    is_own = "nasp" in (Path(name).stem, Path(name).parent.name)  # or python -m nasp
    return {
        "command": shlex.join(["nasp", *arguments]) if is_own else None,
        "versions": {
            "nasp": version("nasp-torch"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
        "git": _git_hash(),
    }


def _git_hash() -> str | None:
    try:
        result = subprocess.run(
            ["git", "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
