"""Neural architecture search in PyTorch by proximal iterations."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasp.bench.contests.repeat.own import repeat
    from nasp.bilevel.found import Found
    from nasp.bilevel.own import build, search
    from nasp.bilevel.settings import SearchConfig
    from nasp.errors import NaspError, UsageError
    from nasp.exporters import export
    from nasp.supernet.architecture import Architecture
    from nasp.supernet.choice import Choice, Node
    from nasp.supernet.partial_channels import PartialChannels
    from nasp.supernet.supernet import Supernet
    from nasp.supernet.zero import Zero
    from nasp.training import callbacks
    from nasp.training.own import train
    from nasp.training.supervised import Supervised
    from nasp.training.task import Figure, Task

__version__ = version("nasp-torch")

__all__ = [
    "Architecture",
    "Choice",
    "Figure",
    "Found",
    "NaspError",
    "Node",
    "PartialChannels",
    "SearchConfig",
    "Supernet",
    "Supervised",
    "Task",
    "UsageError",
    "Zero",
    "build",
    "callbacks",
    "export",
    "repeat",
    "search",
    "train",
]

# Imported when first asked for: `nasp --help` must not wait for torch. What the report adds to
# search and train is known there alone: a room below it cannot import it.
_HOMES = {
    "Architecture": "nasp.supernet.architecture",
    "Choice": "nasp.supernet.choice",
    "Figure": "nasp.training.task",
    "Found": "nasp.bilevel.found",
    "NaspError": "nasp.errors",
    "Node": "nasp.supernet.choice",
    "PartialChannels": "nasp.supernet.partial_channels",
    "SearchConfig": "nasp.bilevel.settings",
    "Supernet": "nasp.supernet.supernet",
    "Supervised": "nasp.training.supervised",
    "Task": "nasp.training.task",
    "UsageError": "nasp.errors",
    "Zero": "nasp.supernet.zero",
    "build": "nasp.bilevel.own",
    "callbacks": "nasp.training",
    "export": "nasp.exporters",
    "repeat": "nasp.bench.contests.repeat.own",
    "search": "nasp.report.own",
    "train": "nasp.report.own",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nasp' has no attribute '{name}'")
    home = import_module(_HOMES[name])
    value = getattr(home, name) if hasattr(home, name) else import_module(f"{_HOMES[name]}.{name}")
    globals()[name] = value
    return value
