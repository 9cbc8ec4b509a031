"""Successive halving under way: who still trains, and how well each did."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from nasp.bilevel.selection.halving import Rung
from nasp.bilevel.selection.trial import Trial
from nasp.errors import NaspError
from nasp.training.task import Batch, Metrics
from nasp.training.unread import NotFiniteError


class Turn(NamedTuple):
    """One epoch of the contest: in which rung, of which of its networks, its how manieth."""

    rung: int
    place: int
    epoch: int


class Contest:
    """Trains networks one after the other, rung by rung, an epoch at a time.

    Args:
        networks: how many take part, the most promising first.
        schedule: the rungs; the first has `networks` networks.
        steps_per_epoch: steps of one epoch.
        make: makes the trial of a network from its number.

    Attributes:
        rows: for each network its metrics at the end of each rung that it trained in.
    """

    def __init__(
        self,
        networks: int,
        schedule: Sequence[Rung],
        steps_per_epoch: int,
        make: Callable[[int], Trial],
    ) -> None:
        self.schedule = schedule
        self.steps_per_epoch = steps_per_epoch
        self.make = make
        self.rows: list[list[Metrics]] = [[] for _ in range(networks)]
        self._turns = [
            Turn(rung, place, epoch)
            for rung, (count, epochs) in enumerate(schedule)
            for place in range(count)
            for epoch in range(epochs)
        ]
        self._epoch = self._step = 0
        self._field = list(range(networks))  # who is in this rung, the most promising first
        self._diverged: set[int] = set()
        self._trials: dict[int, Trial] = {}

    @property
    def epochs(self) -> int:
        """Epochs of all networks in all rungs."""
        return len(self._turns)

    def step(self, batch: Batch) -> Metrics:
        """Train the network whose turn it is on a batch; one that diverged only waits."""
        turn, number = self._now()
        done = (turn.epoch + self._step / self.steps_per_epoch) / self.schedule[turn.rung].epochs
        self._step += 1
        if number in self._diverged:
            return {}
        try:
            return self._trial(number).step(batch, done)
        except NotFiniteError:
            self._diverged.add(number)
            del self._trials[number]
            return {}

    def end_epoch(self, batches: Iterable[Batch]) -> dict[str, Any]:
        """Close an epoch; at the end of a network's rung measure it.

        Returns:
            A line of metrics: ``network``, ``rung`` and, where it was measured, ``val_...``.

        Raises:
            NaspError: every network of the rung diverged.
        """
        turn, number = self._now()
        networks, epochs = self.schedule[turn.rung]
        line: dict[str, Any] = {"network": number, "rung": turn.rung + 1}
        self._epoch, self._step = self._epoch + 1, 0
        if turn.epoch + 1 < epochs:
            return line
        metrics = self._measured(number, batches)
        self.rows[number].append(metrics)
        line |= {f"val_{name}": value for name, value in metrics.items() if name != "score"}
        self._drop(turn)
        if turn.place + 1 == networks:
            self._next_rung(turn)
        return line

    def winner(self) -> dict[str, Tensor]:
        """Return the weights and buffers of the network that won, on the CPU; all are done."""
        state = self._trial(self._field[0]).network.state_dict()
        return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return what was measured, who is in the field, and the trials that may yet go on."""
        return {
            "epoch": self._epoch,
            "step": self._step,
            "rows": self.rows,
            "field": self._field,
            "diverged": sorted(self._diverged),
            "trials": {number: trial.state_dict() for number, trial in self._trials.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self._epoch, self._step = state["epoch"], state["step"]
        self.rows = [list(row) for row in state["rows"]]
        self._field = list(state["field"])
        self._diverged = set(state["diverged"])
        self._trials = {}
        for number, trial in state["trials"].items():
            self._trial(number).load_state_dict(trial)

    def _now(self) -> tuple[Turn, int]:
        turn = self._turns[self._epoch]
        return turn, self._field[turn.place]

    def _trial(self, number: int) -> Trial:
        if number not in self._trials:
            self._trials[number] = self.make(number)
        return self._trials[number]

    def _measured(self, number: int, batches: Iterable[Batch]) -> Metrics:
        if number in self._diverged:
            return {"score": -math.inf}
        return self._trial(number).measure(batches)

    def _ranked(self, turn: Turn) -> list[int]:
        """Return the networks that closed this rung, the best first; of equals the earlier."""
        closed = self._field[: turn.place + 1]
        return sorted(closed, key=lambda number: -self.rows[number][turn.rung]["score"])

    def _survivors(self, rung: int) -> int:
        return self.schedule[rung + 1].networks if rung + 1 < len(self.schedule) else 1

    def _drop(self, turn: Turn) -> None:
        """Free the networks that can no longer reach the next rung."""
        for number in self._ranked(turn)[self._survivors(turn.rung) :]:
            self._trials.pop(number, None)

    def _next_rung(self, turn: Turn) -> None:
        ranked = self._ranked(turn)
        if self.rows[ranked[0]][turn.rung]["score"] == -math.inf:
            raise NaspError(
                "Every network of the selection diverged: lower its learning rate, or check the"
                " data for invalid values."
            )
        self._field = ranked[: self._survivors(turn.rung)]
