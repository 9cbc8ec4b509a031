"""All trainings of a selection: rung by rung, here in turn or beside one another elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from nasp.bilevel.selection.halving import Rung, halve
from nasp.bilevel.selection.training import Training, Turn, measured_in
from nasp.bilevel.selection.trial import Trial
from nasp.runs.folder import RunFolder, load_tensors, save_tensors
from nasp.supernet.architecture import Architecture
from nasp.supernet.derive import derive
from nasp.supernet.supernet import Supernet
from nasp.training.events import EpochEnded, Event, Observer, Started, Stepped, nobody
from nasp.training.passes import EndlessPasses, SamePass
from nasp.training.recipe import Recipe
from nasp.training.task import Metrics, Task, detached

PHASE = "selection epoch"
START = "start.safetensors"
"""Of a network that is trained elsewhere: the weights that it starts from."""
Beside = Callable[[Mapping[Turn, RunFolder]], Iterator[tuple[int, Metrics]]]
"""Trains networks elsewhere, each in its folder, which has a `START`; as `Trainings.train` does
with the same batches, task and recipe. Yields number and metrics of each, as they come."""


@dataclass(frozen=True)
class Trainings:
    """Trains networks of a supernet; none of the trainings depends on another.

    Attributes:
        supernet: left as it is.
        weights: of the supernet, which all start from; None: those that it has.
        task: the task; each network has its own weights of it, from these on.
        train_batches: those that networks are trained on, from where these began.
        val_batches: those that they are measured on.
        steps: of an epoch.
        recipe: optimiser, device, precision, seed.
        run: keeps them, each in a folder of its own; None keeps nothing.
        observe: is told what happens.
        beside: see `Beside`; it needs a run. Default: here, one after the other.
    """

    supernet: Supernet
    weights: Mapping[str, Tensor] | None
    task: Task
    train_batches: EndlessPasses
    val_batches: SamePass
    steps: int
    recipe: Recipe
    run: RunFolder | None = None
    observe: Observer = nobody
    beside: Beside | None = None

    def contest(
        self, architectures: Sequence[Architecture], schedule: Sequence[Rung], stands: bool = False
    ) -> tuple[list[list[Metrics]], dict[str, Tensor]]:
        """Let them train rung by rung; see `halve`.

        Args:
            architectures: the most promising first.
            schedule: the rungs.
            stands: whether the first is only beaten by more than chance.

        Returns:
            Of each its metrics at the end of each rung that it trained in; and the winner's weights
            and buffers, on the CPU.
        """
        rungs = tuple(rung.epochs for rung in schedule)
        told = _OneLoop(self.observe, sum(networks * epochs for networks, epochs in schedule))
        trainings: dict[int, Training] = {}

        def training(turn: Turn) -> Training:
            if turn.number not in trainings:
                trainings[turn.number] = self.training(turn, self._folder(turn.number))
            return trainings[turn.number]

        def train(rung: int, field: Sequence[int]) -> Iterator[tuple[int, Metrics]]:
            turns = [Turn(each, architectures[each], rungs, rung, self.steps) for each in field]
            if self.beside is not None:
                yield from self._beside(turns, self.beside)
                return
            for turn in turns:
                told.epochs_done -= turn.begun
                measured = measured_in(self._folder(turn.number))[rung : rung + 1]
                metrics = measured or [training(turn).train(turn, self.val_batches, told)]
                told.epochs_done += turn.epochs
                yield turn.number, metrics[0]

        def drop(number: int) -> None:
            trainings.pop(number, None)
            if (run := self._folder(number)) is not None:
                shutil.rmtree(run.path / "checkpoints", ignore_errors=True)
                (run.path / START).unlink(missing_ok=True)

        winner, rows = halve(schedule, train, drop, stands)
        last = Turn(winner, architectures[winner], rungs, len(rungs) - 1, self.steps)
        return rows, training(last).weights()

    def training(self, turn: Turn, run: RunFolder | None) -> Training:
        """Return a network's training, to be begun, or to go on with where its folder has it.

        Args:
            turn: of the network.
            run: its folder; a `START` there is what it starts from.
        """
        network = derive(self.supernet, turn.architecture, self.weights)
        if run is not None and (run.path / START).is_file():
            network.load_state_dict(load_tensors(run.path / START))
        batches = self.train_batches.anew(self.task, self.recipe.ranks)
        return Training(Trial(network, detached(self.task), self.recipe), batches, run)

    def train(self, turn: Turn, run: RunFolder) -> Metrics:
        """Train a network in one rung, in its folder, and return what is measured at the end."""
        return self.training(turn, run).train(turn, self.val_batches, self.observe)

    def _beside(self, turns: Sequence[Turn], beside: Beside) -> Iterator[tuple[int, Metrics]]:
        waiting: dict[Turn, RunFolder] = {}
        for turn in turns:
            run = self._folder(turn.number)
            assert run is not None
            if len(measured := measured_in(run)) > turn.rung:
                yield turn.number, measured[turn.rung]
                continue
            if not (run.path / START).is_file():
                network = derive(self.supernet, turn.architecture, self.weights)
                save_tensors(run.path / START, network.state_dict())
            waiting[turn] = run
        yield from beside(waiting)

    def _folder(self, number: int) -> RunFolder | None:
        return None if self.run is None else self.run.part(f"network-{number + 1}")


class _OneLoop:
    """Tells of trainings one after the other as of a single loop.

    Args:
        observe: is told.
        epochs: of all trainings.

    Attributes:
        epochs_done: that the epochs of the training under way are counted on from.
    """

    def __init__(self, observe: Observer, epochs: int) -> None:
        self._observe = observe
        self._epochs = epochs
        self._is_started = False
        self.epochs_done = 0

    def __call__(self, event: Event) -> None:
        match event:
            case Started():
                if not self._is_started:
                    epoch = self.epochs_done + event.epoch
                    self._observe(replace(event, epoch=epoch, epochs=self._epochs, phase=PHASE))
                self._is_started = True
            case Stepped() | EpochEnded():
                self._observe(replace(event, epoch=self.epochs_done + event.epoch))
            case _:
                self._observe(event)
