"""The same search of a user's own module by several seeds, from Python: `nasp.repeat`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nasp.bench.contests.repeat.field import agreement, budgeted, distinct, drawn_beside
from nasp.bench.contests.repeat.repeated import Repeated
from nasp.bench.contests.repeat.spread import folder_of
from nasp.bilevel.first_batch import initialise_lazy_modules
from nasp.bilevel.found import Found
from nasp.bilevel.own import config_of, search
from nasp.bilevel.search_costs import make_complexity
from nasp.bilevel.select_among import select_among
from nasp.bilevel.settings import SearchConfig
from nasp.complexity.costs import Cost
from nasp.errors import UsageError, validated
from nasp.jobs.repeat import Repeats
from nasp.runs.files import write_text_atomic
from nasp.runs.folder import RunFolder, json_object
from nasp.runs.random_state import seeded
from nasp.supernet.copies import copied
from nasp.supernet.supernet import Supernet
from nasp.training.callbacks import watching
from nasp.training.events import Noted, Observer, nobody
from nasp.training.passes import EndlessPasses, epoch_length
from nasp.training.recipe import computing_as_set
from nasp.training.supervised import as_task
from nasp.training.task import Batch, Task, detached

KEPT = "repeat.json"
"""What the repeat in a folder was begun with."""


def repeat(
    network: nn.Module | Callable[[], nn.Module],
    train_loader: Iterable[Batch],
    val_loader: Iterable[Batch],
    *,
    seeds: int = 8,
    random: int | None = None,
    budget: int | None = None,
    task: Task | Callable[[Any, Any], Tensor] | None = None,
    metrics: Mapping[str, Any] | None = None,
    run: str | Path | None = None,
    observe: Observer = nobody,
    progress: bool | None = None,
    **settings: Any,
) -> Repeated:
    """Search by several seeds, train what was found beside random networks, and keep the best.

    Random networks keep the same bounds; where they do as well, the search brings nothing.

    Args:
        network: a module with `Choice`s, of which each search takes a copy; or what makes one, such
            as its class: then each seed begins with weights of its own.
        train_loader: see `nasp.search`; each search begins where the loader is now.
        val_loader: likewise.
        seeds: how many searches; their seeds begin with ``seed=``.
        random: architectures that are drawn beside them; default one a seed.
        budget: epochs of the trainings at the end, of all networks together; default as many as
            all searches had. The other settings of it are those of ``selection=``.
        task: see `nasp.search`.
        metrics: see `nasp.search`.
        run: a folder that keeps it, with the run folder of each search in ``seed-N``; the same call
            goes on with one that was stopped. It ends with the best's ``architecture.json``.
        observe: see `nasp.search`.
        progress: see `nasp.search`.
        settings: as of `nasp.search`.

    Returns:
        What was found by all, and what chance does.

    Raises:
        UsageError: a setting or an argument does not fit.
        NaspError: a search failed, or every network of the selection diverged.
        Interrupted: Ctrl-C; with `run` the same call goes on.
    """
    config, own_cost = config_of(settings)
    given = {"seeds": seeds, "random": random, "budget": budget}
    asked = validated(Repeats, given, "the repeat")
    asked.check()
    if config.devices * config.nodes > 1:
        raise UsageError("A repeat has one device a search: leave out devices and nodes.")
    numbers = range(config.seed, config.seed + asked.seeds)
    loaders = [
        EndlessPasses(train_loader, "The training loader"),
        EndlessPasses(val_loader, "The validation loader"),
    ]
    with _folder(run, {"search": config.as_kept(), "repeat": asked.model_dump()}) as folder:
        found = []
        for number, seed in enumerate(numbers, 1):
            with watching(observe, (), progress) as told:
                told(Noted(f"[{number}/{asked.seeds}] seed {seed}"))
            whole = [passes.anew().whole for passes in loaders]
            found.append(
                search(
                    _fresh(network, seed),
                    *whole,
                    task=task,
                    metrics=metrics,
                    run=None if folder is None else folder.path / folder_of(seed),
                    observe=observe,
                    progress=progress,
                    **{**settings, "seed": seed},
                )
            )
        last = config.model_copy(update={"seed": numbers.stop})
        supernet = Supernet(_fresh(network, last.seed))
        given_task = as_task(task, metrics)
        with watching(observe, (), progress) as told:
            return _compared(
                last, asked, found, supernet, loaders, given_task, folder, told, own_cost
            )


@computing_as_set
def _compared(
    config: SearchConfig,
    asked: Repeats,
    found: Sequence[Found],
    supernet: Supernet,
    loaders: Sequence[EndlessPasses],
    task: Task,
    folder: RunFolder | None,
    observe: Observer,
    own_cost: Cost | None,
) -> Repeated:
    train_batches, val_batches = (passes.anew() for passes in loaders)
    initialise_lazy_modules(supernet, task, val_batches.whole, config.seed)
    steps = epoch_length(train_batches.whole, config.epoch_steps)
    learner = config.learner(supernet, detached(task), supernet.weights())
    complexity = make_complexity(
        supernet, config, learner, val_batches, steps, folder, own=own_cost
    )
    random, chance = drawn_beside(supernet, complexity, config.seed, asked)
    architectures = [each.architecture for each in found]
    entrants = list(dict.fromkeys([*distinct(architectures), *random]))
    selection = select_among(
        entrants,
        supernet,
        train_batches.whole,
        val_batches.whole,
        task,
        budgeted(config, len(entrants), asked, sum(len(each.metrics) for each in found)),
        folder,
        observe,
    )
    first = config.seed - asked.seeds
    repeated = Repeated(
        tuple(range(first, config.seed)),
        tuple(found),
        tuple(random),
        selection,
        agreement(architectures),
        chance,
    )
    if folder is not None:
        repeated.best.architecture.save(folder.architecture_path)
    return repeated


@contextmanager
def _folder(run: str | Path | None, wanted: Mapping[str, Any]) -> Iterator[RunFolder | None]:
    """Open the folder of a repeat, begun where it was not yet; no other process works on it."""
    if run is None:
        yield None
        return
    folder = RunFolder(Path(run))
    folder.go_on = f"nasp.repeat(..., run='{run}')"
    kept = folder.path / KEPT
    if kept.is_file() and json_object(kept) != wanted:
        raise UsageError(f"{run} holds a repeat with other settings: give another folder.")
    if not kept.is_file():
        if folder.path.is_dir() and any(folder.path.iterdir()):
            raise UsageError(f"{run} is not empty, and holds no repeat: give another folder.")
        write_text_atomic(kept, json.dumps(wanted, indent=2) + "\n")
    with folder.lock():
        yield folder


def _fresh(network: nn.Module | Callable[[], nn.Module], seed: int) -> nn.Module:
    if isinstance(network, nn.Module):
        return copied(network)
    with seeded(seed):
        return network()
