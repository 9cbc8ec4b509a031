"""What each candidate operation costs, and how a search is made to mind it."""

from nasp.complexity.costs import Cost, parameter_count
from nasp.complexity.measure import cost_table, parameter_counts, parameter_table
from nasp.complexity.regulariser import Penalty, Regulariser
from nasp.complexity.table import CostTable

__all__ = [
    "Cost",
    "CostTable",
    "Penalty",
    "Regulariser",
    "cost_table",
    "parameter_count",
    "parameter_counts",
    "parameter_table",
]
