"""The trainings of a selection beside one another: in processes of their own, or on Ray."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

from nasp.bilevel.selection import Beside, Trainings, Turn
from nasp.domains.domain import Data
from nasp.errors import NaspError
from nasp.jobs.search_job import SearchJob, prepared
from nasp.runs.folder import RunFolder
from nasp.runs.interruption import Interrupted, interruptible
from nasp.runs.pool import InTurn, Pool, Work, Workplace
from nasp.training.events import Measured, Measuring, Observer, elsewhere
from nasp.training.passes import EndlessPasses, SamePass
from nasp.training.recipe import Recipe, computing_as_set
from nasp.training.task import Metrics


class TurnRequest(NamedTuple):
    """A network's training in one rung of a selection as a piece of work.

    Attributes:
        job: of the search whose network it is.
        turn: which network, and which rung.
        go_on: what the user is told to call where it is stopped.
    """

    job: SearchJob
    turn: Turn
    go_on: str


def train_at(request: TurnRequest, at: Workplace) -> Metrics:
    """Train in the folder of a workplace, or go on there; see `Trainings.train`."""
    assert at.folder is not None
    run = RunFolder(at.folder)
    run.go_on = request.go_on
    config = request.job.search
    data = request.job.domain.read(request.job.data.in_run(run.path), at.tell)
    return _train(config.selection.recipe(config), request, data, run, at)


@computing_as_set
def _train(
    recipe: Recipe, request: TurnRequest, data: Data, run: RunFolder, at: Workplace
) -> Metrics:
    supernet, loaders, _ = prepared(data, request.job)
    trainings = Trainings(
        supernet,
        None,  # the folder has what its network starts from
        data.task(),
        EndlessPasses(loaders.weights, "The training loader"),
        SamePass(loaders.selection, recipe.seed),
        request.turn.steps,
        recipe,
        observe=at.tell,
    )
    return trainings.train(request.turn, run)


def trained_beside(
    job: SearchJob, data: Data, pool: Pool | None, observe: Observer, go_on: str
) -> Beside | None:
    """Return what runs trainings in a pool; None where they are as well run here, in turn.

    Args:
        job: of the search, by its seed.
        data: that it has read.
        pool: where.
        observe: is told what happens.
        go_on: what the user is told to call where it is stopped.
    """
    if isinstance(pool or InTurn(), InTurn):
        return None
    assert pool is not None
    return _TrainedBeside(job, data, pool, observe, go_on)


@dataclass(frozen=True)
class _TrainedBeside:
    job: SearchJob
    data: Data
    pool: Pool
    observe: Observer
    go_on: str

    def __call__(self, turns: Mapping[Turn, RunFolder]) -> Iterator[tuple[int, Metrics]]:
        job = self.job.model_copy(update={"data": self.job.data.absolute()})
        numbers = {str(turn): turn.number for turn in turns}
        done, failed = 0, list[NaspError]()

        def works() -> Iterator[Work]:
            for begun, (turn, run) in enumerate(turns.items()):
                self.data.keep(run.path)  # which images are for what, wherever it is read
                self.observe(Measuring(str(turn), begun, len(turns), None, alone=False))
                request = TurnRequest(job, turn, self.go_on)
                yield Work(str(turn), train_at, request, run.path)

        with interruptible() as interruption:
            try:
                with closing(self.pool.run(works(), interruption, self._tell)) as over:
                    for each in over:
                        done += 1
                        why = None if each.error is None else str(each.error)
                        told = Measured(each.key, done, len(turns), each.seconds, None, why)
                        self.observe(told)
                        if each.error is None:
                            yield numbers[each.key], each.answer
                        else:
                            failed.append(each.error)
            except Interrupted as error:
                raise Interrupted(
                    f"Stopped in the selection; all is saved. Go on with: {self.go_on}"
                ) from error
        if failed:
            raise failed[0]

    def _tell(self, key: str, event: Any) -> None:
        self.observe(elsewhere(key, event))
