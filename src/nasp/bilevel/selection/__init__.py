"""Selection: which of the architectures that a search came by is its result."""

from nasp.bilevel.selection.admitted import Admitted
from nasp.bilevel.selection.by_scores import ByScores
from nasp.bilevel.selection.config import SelectConfig, Selecting
from nasp.bilevel.selection.halving import Rung, halving_schedule
from nasp.bilevel.selection.measure import with_batch_statistics
from nasp.bilevel.selection.selector import Selector
from nasp.bilevel.selection.table import Contender, Selection
from nasp.bilevel.selection.training import Turn
from nasp.bilevel.selection.trainings import Beside, Trainings
from nasp.bilevel.selection.visits import Visits

__all__ = [
    "Admitted",
    "Beside",
    "ByScores",
    "Contender",
    "Rung",
    "SelectConfig",
    "Selecting",
    "Selection",
    "Selector",
    "Trainings",
    "Turn",
    "Visits",
    "halving_schedule",
    "with_batch_statistics",
]
