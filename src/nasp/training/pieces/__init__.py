"""Steps of paths that change all the time, replayed from pieces that are captured once."""

from nasp.training.pieces.edge import UnfitError
from nasp.training.pieces.pieces import Pieces

__all__ = ["Pieces", "UnfitError"]
