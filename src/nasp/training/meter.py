"""Means of metrics over an epoch."""

from __future__ import annotations

from typing import Any

from nasp.training.task import Metrics


class Meter:
    """Adds up metrics step by step; every step weighs the same."""

    def __init__(self) -> None:
        self.sums: Metrics = {}
        self.counts: dict[str, int] = {}

    def add(self, metrics: Metrics) -> None:
        """Take in one step's metrics."""
        for name, value in metrics.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> Metrics:
        """Return the means so far."""
        return {name: total / self.counts[name] for name, total in self.sums.items()}

    def reset(self) -> None:
        """Begin an epoch."""
        self.sums, self.counts = {}, {}

    def state_dict(self) -> dict[str, Any]:
        """Return the sums so far."""
        return {"sums": self.sums, "counts": self.counts}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.sums, self.counts = dict(state["sums"]), dict(state["counts"])
