"""One run in several processes: who speaks, who writes, and what the others see of its folder."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from nasp.runs.files import write_atomic
from nasp.runs.folder import RunFolder
from nasp.training.callbacks import Callback, Watchers, watching
from nasp.training.events import Noted, Observer, nobody
from nasp.training.launch import as_one
from nasp.training.ranks import Ranks
from nasp.training.recipe import BaseRecipe

RANKS = "ranks"
"""What config.json calls the number of processes that a run has been at work in."""


@contextmanager
def together(
    recipe: BaseRecipe, opened: Callable[[], AbstractContextManager[RunFolder | None]]
) -> Iterator[RunFolder | None]:
    """Start the processes that a recipe asks for; each has the run's folder, or a copy of it.

    The first process alone opens the run's folder, before the others are started, and writes to
    it. The others, which may be on other machines, have what it holds at the start in a temporary
    folder, keep no checkpoints there, and are silent.

    Args:
        recipe: says how many.
        opened: opens the folder; None: there is none.
    """
    ranks = recipe.ranks
    if ranks.size == 1:
        with opened() as run:
            yield run
    elif ranks.is_first:
        with opened() as run, as_one(ranks, lambda: "" if run is None else run.go_on):
            recipe.fabric()
            ranks.share(lambda: None if run is None else (run.go_on, _contents(run)))
            yield run
    else:
        with tempfile.TemporaryDirectory(prefix="nasp-") as place, _copy(recipe, place) as run:
            yield run


def watching_first(
    recipe: BaseRecipe, observe: Observer, callbacks: Sequence[Callback], progress: bool | None
) -> AbstractContextManager[Watchers]:
    """Tell what happens in the first process; see `nasp.training.callbacks.watching`."""
    if recipe.ranks.is_first:
        return watching(observe, callbacks, progress)
    return watching(nobody, (), progress=False)


def say_ranks(run: RunFolder | None, ranks: Ranks, observe: Observer) -> None:
    """Keep with how many processes a run is at work; say it where they were others before."""
    if run is None:
        return
    config = run.config()
    before = config.get(RANKS, 1 if run.metrics_path.exists() else ranks.size)
    if before != ranks.size:
        observe(
            Noted(
                f"This run was at work in {before} process{'es' * (before != 1)}, and goes on in"
                f" {ranks.size}: the batches stay, but what it sums up over them, and BatchNorm"
                " without --sync-bn (sync_bn), comes out a little different."
            )
        )
    if config.get(RANKS, 1) != ranks.size:
        run.write_config({**config, RANKS: ranks.size})


@contextmanager
def _copy(recipe: BaseRecipe, place: str) -> Iterator[RunFolder | None]:
    go_on = ""
    with as_one(recipe.ranks, lambda: go_on):
        recipe.fabric()
        sent = recipe.ranks.share(lambda: None)
        if sent is None:
            yield None
            return
        go_on, contents = sent
        for name, content in contents.items():
            write_atomic(Path(place) / name, lambda stream, c=content: stream.write(c))
        run = RunFolder(Path(place))
        run.go_on, run.is_copy = go_on, True
        yield run


def _contents(run: RunFolder) -> dict[str, bytes]:
    files = (path for path in sorted(run.path.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(run.path)): path.read_bytes()
        for path in files
        if not path.name.startswith(".")
    }
