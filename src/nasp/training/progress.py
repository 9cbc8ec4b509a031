"""What a person sees while a loop runs: a live bar on a terminal or in a notebook, else lines."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from nasp.supernet.architecture import Architecture
from nasp.training.events import (
    EpochEnded,
    Event,
    Loading,
    Measuring,
    Noted,
    Started,
    Stepped,
    Warned,
)

BALANCED, UNLIKE = "val_balanced_accuracy", 0.02
"""What is shown where it differs by that much from the accuracy, and so says something else."""
SHOWN = (
    *("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_top5"),
    BALANCED,
    *("test_loss", "test_accuracy", "test_top5", "valid_loss", "valid_perplexity"),
)
"""What is printed of an epoch's metrics first; others of the validation follow."""

WIDE, NARROW = 100, 60
"""Columns of a terminal from which the bar has its steps in figures, and below which it is none."""


class Watch:
    """An observer that shows progress on standard error; a context manager.

    Args:
        quiet: show warnings alone.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.quiet = quiet
        self.live = (self.console.is_terminal or self.console.is_jupyter) and not quiet
        width = self.console.width
        bar: list[ProgressColumn] = [BarColumn(bar_width=24 if width >= WIDE else 14)]
        self.progress = Progress(
            TextColumn("{task.description}"),
            *(bar if width >= NARROW else []),
            *([MofNCompleteColumn()] if width >= WIDE else []),
            *([TextColumn("ETA")] if width >= NARROW else []),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
            TextColumn("{task.fields[figures]}"),
            console=self.console,
            disable=not self.live,
        )
        self.bar: TaskID | None = None
        self.started = Started(0, 0, 0)
        self.began = time.monotonic()

    def __enter__(self) -> Watch:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Loading(done, total, what):
                self._advance(what, done, total, [])
            case Started():
                self._start(event)
            case Stepped():
                if self.live:
                    self._advance(self._epoch(event.epoch), *self._progress(event), _figures(event))
            case EpochEnded():
                if not self.quiet:
                    self._print_epoch(event)
            case Measuring():
                self._show_measuring(event)
            case Noted(message):
                self.say(message)
            case Warned(message):
                text = f"[yellow]warning:[/yellow] {escape(message)}"
                # A terminal would break the lines within words.
                self.console.print(text, soft_wrap=not self.console.is_terminal)

    def say(self, text: str) -> None:
        """Print a line, unless quiet."""
        if not self.quiet:
            self.console.print(text, markup=False)

    def _start(self, event: Started) -> None:
        self.started, self.began = event, time.monotonic()
        if self.bar is not None:
            self.progress.remove_task(self.bar)
            self.bar = None
        if event.epoch or event.step:
            self.say(f"Going on after {event.phase} {event.epoch}, step {event.step}.")

    def _show_measuring(self, event: Measuring) -> None:
        left = "" if event.seconds_left is None else f"ETA {_duration(event.seconds_left)}"
        if self.live:
            self._advance(event.what, event.done, event.total, [left])
        else:
            self.say(f"{event.done + 1}/{event.total}  {event.what}  {left}".rstrip())

    def _advance(self, description: str, done: int, total: int, parts: Iterable[str]) -> None:
        if self.bar is None:
            self.bar = self.progress.add_task(description, total=total, figures="")
        figures = self._fitting(parts, len(description), len(str(total)))
        self.progress.update(
            self.bar, description=description, completed=done, total=total, figures=figures
        )

    def _fitting(self, parts: Iterable[str], described: int, digits: int) -> str:
        """Return what fits of the parts beside the bar and the time, the first ones first."""
        width, time_left = self.console.width, len("0:00:00 ")
        beside = 0 if width < NARROW else 14 + len(" ETA ")
        if width >= WIDE:
            beside += 10 + 2 * digits + 2
        room, chosen = width - described - 1 - beside - time_left, list[str]()
        for part in parts:
            if len("  ".join([*chosen, part])) <= room:
                chosen.append(part)
        return "  ".join(chosen)

    def _print_epoch(self, event: EpochEnded) -> None:
        left = f"ETA {_duration(self._seconds_left(event))}"
        parts = [self._epoch(event.epoch), *figures_of(event), left]
        self.console.print(self._packed(parts))
        if event.architecture is not None:
            edges = ["", *compact(event.architecture).split("  ")]
            self.console.print(f"[dim]{escape(self._packed(edges))}[/dim]")

    def _packed(self, parts: Iterable[str]) -> str:
        """Return parts in one line or, on a terminal, in as many indented ones as it takes."""
        lines: list[str] = []
        for part in parts:
            longer = f"{lines[-1]}  {part}" if lines else part
            if lines and len(longer) > self.console.width and self.live:
                lines.append(f"  {part}")
            else:
                lines[-1:] = [longer]
        return "\n".join(lines)

    def _epoch(self, epoch: int) -> str:
        # Where the time is limited, the number of epochs seldom is what ends a training.
        of_all = f"/{self.started.epochs}" if self.started.seconds_left is None else ""
        return f"{self.started.phase} {epoch}{of_all}"

    def _progress(self, event: Stepped) -> tuple[int, int]:
        if self.started.seconds_left is not None:
            total = max(round(self.started.seconds_left), 1)
            return min(round(time.monotonic() - self.began), total), total
        done = (event.epoch - 1) * self.started.steps_per_epoch + event.step
        return done, self.started.epochs * self.started.steps_per_epoch

    def _seconds_left(self, event: EpochEnded) -> float:
        elapsed = time.monotonic() - self.began
        epochs_done = event.epoch - self.started.epoch
        left = elapsed / epochs_done * (self.started.epochs - event.epoch)
        limit = self.started.seconds_left
        return left if limit is None else min(left, max(limit - elapsed, 0.0))


def line_of(event: EpochEnded) -> str:
    """Return what is told of an epoch, in one line."""
    return "  ".join([f"epoch {event.epoch}", *figures_of(event)])


def figures_of(event: EpochEnded) -> list[str]:
    """Return an epoch's losses and metrics, how the architecture moved, and its seconds."""
    metrics = event.metrics
    shown = [name for name in SHOWN if name in metrics]
    if abs(metrics.get(BALANCED, 0) - metrics.get("val_accuracy", 0)) < UNLIKE:
        shown = [name for name in shown if name != BALANCED]
    parts = [_figure(name, metrics[name]) for name in shown]
    others = ((n, v) for n, v in metrics.items() if n.startswith("val_") and n not in SHOWN)
    parts += [f"{name.replace('_', ' ')} {value:.4g}" for name, value in others]
    if "changed_edges" in metrics:
        parts.append(f"edges changed {metrics['changed_edges']}/{metrics['edges']}")
        parts.append(f"margin {metrics['margin_mean']:.3f}")
    return [*parts, f"{event.seconds:.1f} s"]


def _figures(event: Stepped) -> list[str]:
    parts = [
        _figure(name, event.means[name])
        for name in ("val_accuracy", "train_accuracy", "train_loss")
        if name in event.means
    ]
    if event.changed_edges is not None:
        parts.append(f"{event.changed_edges} edges changed")
    return parts


def _figure(name: str, value: float) -> str:
    label = name.replace("_", " ")
    if name.endswith("perplexity"):
        return f"{label} {value:.2f}"
    return f"{label} {value:.3f}" if name.endswith("loss") else f"{label} {value:.1%}"


def compact(architecture: Architecture) -> str:
    """Return the candidate of each edge that is on, in one line."""
    return "  ".join(f"{e}={c}" for e, c in architecture.edges.items() if c is not None)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
