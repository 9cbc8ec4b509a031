"""Neural architecture search in PyTorch by proximal iterations."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nasp.architecture import Architecture
    from nasp.bilevel import SearchConfig, search
    from nasp.choice import Choice, Node, Zero
    from nasp.errors import NaspError, UsageError
    from nasp.exporters import export
    from nasp.found import Found
    from nasp.partial_channels import PartialChannels
    from nasp.supernet import Supernet
    from nasp.tasks.supervised import Supervised
    from nasp.tasks.task import Figure, Task

__version__ = version("nasp")

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
    "export",
    "search",
]

# Imported when first asked for: `nasp --help` must not wait for torch.
_HOMES = {
    "Architecture": "nasp.architecture",
    "Choice": "nasp.choice",
    "Figure": "nasp.tasks.task",
    "Found": "nasp.found",
    "NaspError": "nasp.errors",
    "Node": "nasp.choice",
    "PartialChannels": "nasp.partial_channels",
    "SearchConfig": "nasp.bilevel",
    "Supernet": "nasp.supernet",
    "Supervised": "nasp.tasks.supervised",
    "Task": "nasp.tasks.task",
    "UsageError": "nasp.errors",
    "Zero": "nasp.choice",
    "export": "nasp.exporters",
    "search": "nasp.bilevel",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nasp' has no attribute '{name}'")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
