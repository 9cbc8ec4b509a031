"""What a search returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn

from nasp.bilevel.selection import Selection
from nasp.complexity.bound import Reached
from nasp.errors import UsageError
from nasp.supernet.architecture import Architecture
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet
from nasp.training.recalibration import Recalibration
from nasp.training.task import Batch

_WIDTH = 120
SEARCH = "search"
"""The strategy's own result, or the nearest that keeps the bounds."""
SELECTION = "selection"
LARGEST = "largest"
"""The largest network that keeps the bounds, where the search does not know."""


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        architecture: the winner of the selection; without one, the discrete path of the last
            iteration, or where that broke a bound, the nearest that keeps it.
        supernet: with the weights and alphas as the search left them.
        initial_weights: the network's parameters and buffers before the search.
        metrics: a line for each epoch.
        run: the run folder, where there is one; of several processes the first alone has it.
        selection: every architecture that the selection looked at; None without a selection.
        bounds: what the architecture's network costs, for each bound that the search had.
        scores: table -> ``[edges, candidates]``, of which the strategy's own result has the largest
            sum: the alphas, or those of the strategy's average.
        start: what the strategy would have returned before its first step; None where one step is
            its whole search.
        recalibration: measures BatchNorm's statistics with the loader of the weights' batches.
        decided_by: what made it the result: `SEARCH`, `SELECTION` or `LARGEST`, the fallback.
    """

    architecture: Architecture
    supernet: Supernet
    initial_weights: Mapping[str, Tensor]
    metrics: list[dict[str, Any]]
    run: Path | None = None
    selection: Selection | None = None
    bounds: tuple[Reached, ...] = ()
    scores: Mapping[str, Tensor] = field(default_factory=dict, repr=False, compare=False)
    start: Architecture | None = field(default=None, repr=False, compare=False)
    recalibration: Recalibration | None = field(default=None, repr=False, compare=False)
    decided_by: str = SEARCH

    def __repr__(self) -> str:
        """Return in ten lines at most what was found, how well it does, and what comes next."""
        edges = self.architecture.edges
        on = {edge: name for edge, name in edges.items() if name is not None}
        last = self.metrics[-1] if self.metrics else {}
        figures = [f"{n} {v:.4g}" for n, v in last.items() if n.startswith(("train_", "val_"))]
        lines = [
            f"Found after {len(self.metrics)} epochs, on {len(on)} of {len(edges)} edges:",
            f"  {'  '.join(f'{edge}={name}' for edge, name in on.items())}",
            f"  last epoch: {', '.join(figures)}",
            *(f"  {bound.sentence()}" for bound in self.bounds[:3]),
        ]
        if self.decided_by == LARGEST:
            lines.append("  the largest network that it may be, since the search does not know")
        if self.selection is not None:
            count, mode = len(self.selection.contenders), self.selection.mode
            lines.append(f"  the best of {count} architectures by selection '{mode}'")
        lines += (
            []
            if self.run is None
            else [f"  run folder: {self.run}; to look at it: nasp report {self.run}"]
        )
        lines.append("  next: .build(), nasp.train(found, ...), nasp.export(found.build(), ...)")
        cut = (line if len(line) <= _WIDTH else f"{line[: _WIDTH - 4]} ..." for line in lines)
        return "\n".join(cut)

    def build(
        self,
        weights: Literal["inherit", "fresh", "trained"] = "inherit",
        data: Iterable[Batch] | None = None,
    ) -> nn.Module:
        """Return the found network as a plain module: nothing of nasp is left in it.

        Args:
            weights: ``"inherit"`` takes the supernet's, and measures the running statistics of
                BatchNorm anew, since the supernet's are of all its paths; ``"fresh"`` those that
                the network had before the search; ``"trained"`` those that the winner of
                ``select="train"`` had after its stand-alone training.
            data: batches for these statistics; default the search's loader for the weights.
        """
        if weights == "trained":
            trained = None if self.selection is None else self.selection.weights
            if trained is None:
                raise UsageError("No network was trained alone: search with select='train'.")
            network = derive(self.supernet, self.architecture, self.initial_weights)
            network.load_state_dict(trained)
            return network
        if weights == "fresh":
            return derive(self.supernet, self.architecture, self.initial_weights)
        network = derive(self.supernet, self.architecture)
        if self.recalibration is not None:
            self.recalibration(network, data)
        return network
