"""One network's training in a selection: a rung, and later the next from where that one ended."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import Tensor

from nasp.bilevel.selection.measure import SCORES
from nasp.bilevel.selection.trial import Trial
from nasp.errors import NaspError
from nasp.runs.checkpoints import Checkpointer, Stateful
from nasp.runs.folder import RunFolder
from nasp.runs.random_state import random_states, restore_random_states, seed_all
from nasp.supernet.architecture import Architecture
from nasp.training.events import Observer
from nasp.training.loop import EpochReport, StepReport, run_epochs
from nasp.training.meter import Meter
from nasp.training.passes import EndlessPasses
from nasp.training.task import Batch, Metrics
from nasp.training.unread import NotFiniteError


class Turn(NamedTuple):
    """The training of a network in one rung.

    Attributes:
        number: of the network, from 0.
        architecture: its.
        rungs: epochs of each rung.
        rung: which one, from 0.
        steps: of an epoch.
    """

    number: int
    architecture: Architecture
    rungs: tuple[int, ...]
    rung: int
    steps: int

    def __str__(self) -> str:
        return f"network {self.number + 1}, rung {self.rung + 1}"

    @property
    def begun(self) -> int:
        """Epochs before this rung."""
        return sum(self.rungs[: self.rung])

    @property
    def epochs(self) -> int:
        """Epochs at the end of this rung."""
        return sum(self.rungs[: self.rung + 1])


class Training(Checkpointer):
    """Trains a network rung by rung, and depends on no other network's training.

    Each begins with the generators at the recipe's seed and the loader at its first place, so all
    see the same batches, and may be trained in any order or beside one another, to the same bits.

    Args:
        trial: the network.
        batches: those that it is trained on, at their beginning; others may read them in between.
        run: keeps it, for another process to go on; None: this one alone can.
    """

    def __init__(self, trial: Trial, batches: EndlessPasses, run: RunFolder | None) -> None:
        self.trial = trial
        self.batches = batches
        self._meter = Meter()
        self._steps = self._epochs = 0
        self._is_diverged = False
        self._is_here = False
        parts: dict[str, Stateful] = {"training": self, "batches": batches, "meter": self._meter}
        super().__init__(run, parts, trial.recipe.checkpoint_minutes)
        seed_all(trial.recipe.seed)
        self._place = batches.state_dict(), random_states()

    def train(self, turn: Turn, measured_on: Iterable[Batch], observe: Observer) -> Metrics:
        """Train until the end of a rung, and measure there.

        Returns:
            Metrics on the batches `measured_on`, with ``score``.

        Raises:
            NaspError: it was trained for longer already, and what was measured then is gone.
            Interrupted: Ctrl-C; another `Training` with the same run goes on.
        """
        steps = turn.rungs[turn.rung] * turn.steps
        measured: Metrics = {}

        def step() -> StepReport:
            batch, done = next(self.batches), (self._steps - turn.begun * turn.steps) / steps
            self._steps += 1
            metrics = self._step(batch, done)
            return StepReport({f"train_{name}": value for name, value in metrics.items()})

        def end_epoch(epoch: int) -> EpochReport:
            self._epochs = epoch
            line: dict[str, Any] = {"network": turn.number, "rung": turn.rung + 1}
            if epoch == turn.epochs:
                measured.update(self._measured(measured_on))
                line |= _line(measured)
            return EpochReport(line)

        run_epochs(
            turn.epochs,
            turn.steps,
            step,
            end_epoch,
            self,
            self._meter,
            self.run,
            observe,
            phase=f"the selection's {turn}, epoch",
            ranks=self.trial.recipe.ranks,
        )
        self._place = self.batches.state_dict(), random_states()
        if not measured and self.run is not None:
            raise NaspError(
                f"{self.run.metrics_path} is damaged: it lacks the end of {turn}. Delete the folder"
                f" {self.run.path}: this network is then trained anew."
            )
        return measured

    def restore(self) -> dict[str, Any]:
        """Take up where this process left it, else where its run was stopped."""
        progress = None if self._is_here else super().restore()
        self._is_here = True
        if progress is None:
            place, states = self._place
            self.batches.load_state_dict(place)
            restore_random_states(states)
            progress = {"epoch": self._epochs, "step": 0, "seconds": 0.0}
        self._epochs = progress["epoch"]
        return progress

    def weights(self) -> dict[str, Tensor]:
        """Return weights and buffers as they are now, on the CPU."""
        if not self._is_here:
            self.restore()
        state = self.trial.network.state_dict()
        return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the network's state, and how far it is."""
        return {"trial": self.trial.state_dict(), "steps": self._steps, "nan": self._is_diverged}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.trial.load_state_dict(state["trial"])
        self._steps, self._is_diverged = state["steps"], state["nan"]

    def _step(self, batch: Batch, done: float) -> Metrics:
        """Train on a batch; a network that diverged only waits."""
        try:
            return {} if self._is_diverged else self.trial.step(batch, done)
        except NotFiniteError:
            self._is_diverged = True
            return {}

    def _measured(self, batches: Iterable[Batch]) -> Metrics:
        return {"score": -math.inf} if self._is_diverged else self.trial.measure(batches)


def measured_in(run: RunFolder | None) -> list[Metrics]:
    """Return what `Training.train` returned of each rung that is over, as its run keeps it."""
    lines = [] if run is None else [line for line in run.metrics() if "score" in line]
    return [
        {
            **{name.removeprefix("val_"): line[name] for name in line if name.startswith("val_")},
            **{name: line[name] for name in SCORES if name in line},
            "score": -math.inf if line["score"] is None else line["score"],
        }
        for line in lines
    ]


def _line(metrics: Metrics) -> dict[str, Any]:
    """Return a rung's metrics as a line; JSON has no infinity."""
    named = {n if n in SCORES else f"val_{n}": value for n, value in metrics.items()}
    return {n: value if math.isfinite(value) else None for n, value in named.items()}
