"""Where data lie that were fetched, or put there."""

from __future__ import annotations

import os
from pathlib import Path


def default_root() -> Path:
    """Return the folder for data: NASP_DATA, or else ~/.cache/nasp."""
    return Path(os.environ.get("NASP_DATA") or "~/.cache/nasp").expanduser()
