"""Selection: which of the architectures that a search came by is its result."""

from nasp.selection.config import SelectConfig, Selecting
from nasp.selection.halving import Rung, halving_schedule
from nasp.selection.selector import Selector
from nasp.selection.table import Contender, Selection
from nasp.selection.visits import Visits

__all__ = [
    "Contender",
    "Rung",
    "SelectConfig",
    "Selecting",
    "Selection",
    "Selector",
    "Visits",
    "halving_schedule",
]
