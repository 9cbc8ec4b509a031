"""A selection without a search: which of architectures that are given already is the best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nasp.bilevel.selection import Beside, Selection, Selector
from nasp.bilevel.settings import SearchConfig
from nasp.runs.folder import RunFolder
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Supernet
from nasp.training.events import Observer, nobody
from nasp.training.passes import EndlessPasses, epoch_length
from nasp.training.recipe import computing_as_set
from nasp.training.start import start_from
from nasp.training.task import Batch, Task, detached


@computing_as_set
def select_among(
    architectures: Sequence[Architecture],
    supernet: Supernet,
    train_loader: Iterable[Batch],
    selection_loader: Iterable[Batch],
    task: Task,
    config: SearchConfig,
    run: RunFolder | None = None,
    observe: Observer = nobody,
    beside: Beside | None = None,
) -> Selection:
    """Train all under one budget, from the same fresh weights; see `Selector.select_of`.

    Args:
        architectures: of the supernet, distinct.
        supernet: its weights are what all start from.
        train_loader: batches that all are trained on.
        selection_loader: batches that all are measured on.
        task: the task.
        config: its `selection` says for how long; whatever start that names, it is a fresh one.
        run: keeps the selection, which goes on where it was stopped.
        observe: is told what happens.
        beside: runs trainings beside one another; default here, in turn.
    """
    start_from(supernet.network, config.init, run, observe)
    selector = Selector(
        supernet,
        {k: v.detach().cpu().clone() for k, v in supernet.network.state_dict().items()},
        task,
        detached(task),
        EndlessPasses(train_loader, "The training loader"),
        EndlessPasses(selection_loader),
        epoch_length(train_loader, config.epoch_steps),
        config,
        config.selection.model_copy(update={"weights": "fresh"}),
        run,
        observe,
        beside=beside,
    )
    return selector.select_of(architectures)
