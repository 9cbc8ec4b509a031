"""Neural architecture search in PyTorch by proximal iterations."""

from importlib.metadata import version

from nasp.architecture import Architecture
from nasp.choice import Choice, Node, Zero
from nasp.errors import NaspError, UsageError
from nasp.search import Found, SearchConfig, search
from nasp.supernet import Supernet
from nasp.tasks.supervised import Supervised
from nasp.tasks.task import Task

__version__ = version("nasp")

__all__ = [
    "Architecture",
    "Choice",
    "Found",
    "NaspError",
    "Node",
    "SearchConfig",
    "Supernet",
    "Supervised",
    "Task",
    "UsageError",
    "Zero",
    "search",
]
