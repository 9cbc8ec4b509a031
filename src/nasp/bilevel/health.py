"""Is the search well? Figures of the discrete architecture and its alphas, and plain warnings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from nasp.bilevel.knowledge import SizeRank, doubt, knows
from nasp.complexity import parameter_counts
from nasp.strategies.average import Average, MeanGain
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Supernet

COLLAPSED = 0.75
_THEN = {
    "train": (
        ", so it ends here, and short trainings decide between what it found and larger networks,"
        " where there are any"
    ),
    "largest": ", so the largest network it may find decides",
    "none": (
        "; search longer, or let short trainings decide (select='train', --select train), or the"
        " largest network (fallback='largest', --fallback largest)"
    ),
}
"""What follows where a search does not know."""


@dataclass(frozen=True)
class Health:
    """How the architecture moved in one epoch, and what it is made of.

    Attributes:
        changed_edges: edges of the result so far that differ from the previous epoch's end.
        edges: edges in all.
        flips_per_step: edges of the discrete point that changed in a step, mean over the epoch's.
        margin_mean: best alpha, or average, minus the second best, mean over the surviving edges;
            of gains in units of what the best and the worst of the edge lie apart.
        margin_min: the same of the least decided edge.
        agreement: how alike the two halves of the averaged steps rank paths, -1 to 1, see
            `nasp.strategies.average.Average.agreement`; None where there is none. It says how
            steady the search is, not how right.
        size_tau: how alike the averaged scores and the number of parameters rank paths, see
            `nasp.bilevel.knowledge.SizeRank`; None where there is none.
        knows: whether the search knows which architectures are good, as far as those two can
            tell; None where they cannot, as of mean points.
        shares: candidate -> share of the surviving edges that hold it.
        parameterless: share of the surviving edges whose candidate has no parameters
            (skip, none, pooling), while a rival of it has.
        free: those candidates, the most frequent first.
    """

    changed_edges: int
    edges: int
    flips_per_step: float
    margin_mean: float
    margin_min: float
    agreement: float | None
    size_tau: float | None
    knows: bool | None
    shares: dict[str, float]
    parameterless: float
    free: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as plain values."""
        return asdict(self)

    def collapse_warning(self, is_bounded: bool = False) -> str | None:
        """Return a sentence where nearly all edges hold operations without parameters.

        Args:
            is_bounded: the search has a bound or a target already.
        """
        if self.parameterless < COLLAPSED:
            return None
        share = f"{self.parameterless:.0%}"
        common = ", ".join(self.free[:2])
        advice = "" if is_bounded else ", or at a given cost (--target, or target=)"
        return (
            f"The architecture collapses: {share} of its edges hold operations without"
            f" parameters (mostly {common}); search longer{advice}."
        )

    def unsettled_warning(self, is_average: bool = False) -> str | None:
        """Return a sentence where the result still changed in the epoch.

        Args:
            is_average: the result is an average of points that may change as they like.
        """
        if self.changed_edges == 0 and (is_average or self.flips_per_step == 0):
            return None
        often = "" if is_average else f", {self.flips_per_step:.1f} a step"
        return (
            f"The architecture has not settled: {self.changed_edges} of {self.edges} edges changed"
            f" in the last epoch{often}, so the last one is partly chance; search longer, or lower"
            " the alphas' learning rate."
        )

    def ignorance_warning(self, fallback: str = "none") -> str | None:
        """Return a sentence where the search does not know.

        Args:
            fallback: what decides then, see `SearchConfig`.
        """
        if self.knows is not False:
            return None
        return f"The search does not know: {doubt(self.agreement, self.size_tau)}{_THEN[fallback]}."

    def tie_warning(self) -> str | None:
        """Return a sentence where an edge's two best candidates have the same alpha."""
        if self.margin_min > 0:
            return None
        return (
            "On at least one edge the two best candidates are equal, in alphas or in how often they"
            " were chosen, so which of them was kept is chance; search longer, or lower the alphas'"
            " learning rate, so that they do not all reach a bound."
        )


class HealthMonitor:
    """Counts flips from step to step, and sums an epoch up.

    Args:
        supernet: whose alphas are read.
        architecture: the one before the first step.
        average: the strategy's, by which margins are taken; None: they are of the alphas.
    """

    def __init__(
        self, supernet: Supernet, architecture: Architecture, average: Average | None = None
    ) -> None:
        self.supernet = supernet
        self._average = average
        self._costs = parameter_counts(supernet)
        self._takes_gains = isinstance(average, MeanGain)
        self._size_rank = None if average is None else SizeRank(supernet)
        self._at_epoch_start = architecture
        self._latest = architecture
        self._has_moved = False
        self._flips = 0
        self._steps = 0

    def step(self, architecture: Architecture) -> int:
        """Take note of the architecture after a step; return how many edges it changed."""
        changed = architecture.changes(self._latest)
        self._has_moved |= changed > 0
        self._flips += changed
        self._steps += 1
        self._latest = architecture
        return changed

    def end_epoch(self, result: Architecture | None = None, is_sized: bool = False) -> Health:
        """Return the epoch's figures and begin the next.

        Args:
            result: what the search would keep now; default the latest architecture.
            is_sized: what networks are to cost is given, so what size is worth is not asked.
        """
        result = self._latest if result is None else result
        margin = torch.cat(list(self._margins(result)))
        held = [name for name in result.edges.values() if name is not None]
        free = Counter(self._free(result))
        agreement = size_tau = None
        if self._average is not None and self._size_rank is not None:
            agreement = self._average.agreement()
            size_tau = None if is_sized else self._size_rank(self._average.scores())
        health = Health(
            changed_edges=result.changes(self._at_epoch_start),
            edges=len(result.edges),
            flips_per_step=self._flips / max(self._steps, 1),
            margin_mean=float(margin.mean()),
            margin_min=float(margin.min()),
            agreement=agreement,
            size_tau=size_tau,
            knows=knows(agreement, size_tau) if self._takes_gains else None,
            shares={name: count / len(held) for name, count in sorted(Counter(held).items())},
            parameterless=free.total() / len(held),
            free=tuple(name for name, _ in free.most_common()),
        )
        self._at_epoch_start = result
        self._flips = self._steps = 0
        return health

    def stillness_warning(self) -> str | None:
        """Return a sentence where no step of the search has changed the architecture."""
        if self._has_moved:
            return None
        return (
            "The search has changed nothing: its architecture is the one that it began with;"
            " search longer."
        )

    def _margins(self, result: Architecture) -> Iterator[Tensor]:
        average = self._average
        entries = self.supernet.alphas if average is None else average.shown()
        for name, table in self.supernet.tables.items():
            on = [row for row, edge in enumerate(table.edges) if result[edge] is not None]
            rows = entries[name].detach()[on][:, table.surviving]
            if self._takes_gains:
                spread = rows.amax(dim=1, keepdim=True) - rows.amin(dim=1, keepdim=True)
                rows = rows / torch.where(spread > 0, spread, 1.0)
            yield _margins(rows)

    def _free(self, result: Architecture) -> Iterator[str]:
        for name, table in self.supernet.tables.items():
            for row, edge in enumerate(table.edges):
                candidate = result[edge]
                if candidate is None:
                    continue
                costs = self._costs[name][row]
                if costs[table.candidates.index(candidate)] == 0 and costs.any():
                    yield candidate

    def state_dict(self) -> dict[str, Any]:
        """Return the counts of the epoch under way."""
        return {
            "at_epoch_start": dict(self._at_epoch_start.edges),
            "latest": dict(self._latest.edges),
            "has_moved": self._has_moved,
            "flips": self._flips,
            "steps": self._steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self._at_epoch_start = Architecture(state["at_epoch_start"], self.supernet.space)
        self._latest = Architecture(state["latest"], self.supernet.space)
        self._has_moved = state["has_moved"]
        self._flips, self._steps = state["flips"], state["steps"]


def _margins(alphas: Tensor) -> Tensor:
    if alphas.shape[1] == 1:
        return torch.ones(len(alphas), device="cpu")
    best = alphas.topk(2, dim=1).values
    return (best[:, 0] - best[:, 1]).cpu()
