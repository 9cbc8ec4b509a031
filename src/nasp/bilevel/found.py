"""What a search returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from nasp.bilevel.selection import Selection
from nasp.complexity.bound import Reached
from nasp.supernet.architecture import Architecture
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        architecture: the winner of the selection; without one, the discrete path of the last
            iteration, or where that broke a bound, the nearest that keeps it.
        supernet: with the weights and alphas as the search left them.
        initial_weights: the network's parameters and buffers before the search.
        metrics: a line for each epoch.
        run: the run folder, where there is one.
        selection: every architecture that the selection looked at; None without a selection.
        bounds: what the architecture's network costs, for each bound that the search had.
    """

    architecture: Architecture
    supernet: Supernet
    initial_weights: Mapping[str, Tensor]
    metrics: list[dict[str, Any]]
    run: Path | None = None
    selection: Selection | None = None
    bounds: tuple[Reached, ...] = ()

    def build(self, weights: Literal["inherit", "fresh"] = "inherit") -> nn.Module:
        """Return the found network as a plain module: nothing of nasp is left in it.

        Args:
            weights: ``"inherit"`` takes the supernet's, ``"fresh"`` those that the network had
                before the search.
        """
        start = self.initial_weights if weights == "fresh" else None
        return derive(self.supernet, self.architecture, start)
