"""What a person sees while many measurements are made: a live bar on a terminal, else nothing."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


class Bar:
    """Counts measurements on standard error; a context manager.

    Args:
        description: what is measured.
    """

    def __init__(self, description: str) -> None:
        console = Console(stderr=True, highlight=False)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.fields[last]}", markup=False),
            console=console,
            disable=not console.is_terminal,
        )
        self.description = description
        self.task: TaskID | None = None

    def __enter__(self) -> Bar:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def __call__(self, done: int, total: int, last: str) -> None:
        """Show that so many are done, and what the last one found."""
        if self.task is None:
            # What an earlier call did took no time in this one: the ETA must not count on it.
            self.task = self.progress.add_task(self.description, total=total, last="")
            self.progress.update(self.task, completed=done - 1)
        self.progress.update(self.task, completed=done, last=last)
