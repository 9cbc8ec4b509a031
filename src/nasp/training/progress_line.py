"""A line of what a person sees: how far a loop is, and what figures fit beside."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from nasp.training.events import Event, Loading, Started, Stepped

WIDE, NARROW = 100, 60
"""Columns of a terminal from which the bar has its steps in figures, and below which it is none."""
LONGEST = 24
"""Characters of the name that stands before one line of many."""


def lines_on(console: Console, is_live: bool) -> Progress:
    """Return what holds the lines, set for the console's width; empty, and not yet shown."""
    width = console.width
    bar: list[ProgressColumn] = [BarColumn(bar_width=24 if width >= WIDE else 14)]
    return Progress(
        TextColumn("{task.description}", markup=False),
        *(bar if width >= NARROW else []),
        *([MofNCompleteColumn()] if width >= WIDE else []),
        *([TextColumn("ETA")] if width >= NARROW else []),
        TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        TextColumn("{task.fields[figures]}"),
        console=console,
        disable=not is_live,
    )


class Line:
    """One line: that of a loop, or of another thing that advances.

    Args:
        progress: holds it.
        name: stands before all that it says.
    """

    def __init__(self, progress: Progress, name: str = "") -> None:
        self.progress = progress
        self.name = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
        self.started = Started(0, 0, 0)
        self.began = time.monotonic()
        self._bar: TaskID | None = None

    def show(self, event: Event) -> None:
        """Show one event of a loop."""
        match event:
            case Loading(done, total, what):
                self.advance(what, done, total, [])
            case Started():
                self.started, self.began = event, time.monotonic()
                if self._bar is not None:
                    self.progress.reset(self._bar)
                    done = event.epoch * event.steps_per_epoch + event.step
                    self.advance(event.phase, done, event.epochs * event.steps_per_epoch, [])
            case Stepped():
                self.advance(self.epoch(event.epoch), *self._share(event), _figures(event))

    def advance(self, description: str, done: int, total: int, parts: Iterable[str]) -> None:
        """Say how far something is, and beside it the first of the parts, as many as fit."""
        said = f"{self.name}  {description}" if self.name else description
        if self._bar is None:
            self._bar = self.progress.add_task(said, total=total, figures="")
        figures = self._fitting(parts, len(said), len(str(total)))
        self.progress.update(
            self._bar, description=said, completed=done, total=total, figures=figures
        )

    def remove(self) -> None:
        """Take it away."""
        if self._bar is not None:
            self.progress.remove_task(self._bar)
            self._bar = None

    def epoch(self, epoch: int) -> str:
        """Return what an epoch is called."""
        # Where the time is limited, the number of epochs seldom is what ends a training.
        of_all = f"/{self.started.epochs}" if self.started.seconds_left is None else ""
        return f"{self.started.phase} {epoch}{of_all}"

    def _share(self, event: Stepped) -> tuple[int, int]:
        if self.started.seconds_left is not None:
            total = max(round(self.started.seconds_left), 1)
            return min(round(time.monotonic() - self.began), total), total
        done = (event.epoch - 1) * self.started.steps_per_epoch + event.step
        return done, self.started.epochs * self.started.steps_per_epoch

    def _fitting(self, parts: Iterable[str], described: int, digits: int) -> str:
        """Return what fits of the parts beside the bar and the time, the first ones first."""
        width, time_left = self.progress.console.width, len("0:00:00 ")
        beside = 0 if width < NARROW else 14 + len(" ETA ")
        if width >= WIDE:
            beside += 10 + 2 * digits + 2
        room, chosen = width - described - 1 - beside - time_left, list[str]()
        for part in parts:
            if len("  ".join([*chosen, part])) <= room:
                chosen.append(part)
        return "  ".join(chosen)


def _figures(event: Stepped) -> list[str]:
    parts = [
        figure(name, event.means[name])
        for name in ("val_accuracy", "train_accuracy", "train_loss")
        if name in event.means
    ]
    if event.changed_edges is not None:
        parts.append(f"{event.changed_edges} edges changed")
    return parts


def figure(name: str, value: float) -> str:
    """Return a metric as it is shown."""
    label = name.replace("_", " ")
    if name.endswith("perplexity"):
        return f"{label} {value:.2f}"
    return f"{label} {value:.3f}" if name.endswith("loss") else f"{label} {value:.1%}"
