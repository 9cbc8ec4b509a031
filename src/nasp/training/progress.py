"""What a person sees while a loop runs: a live bar on a terminal or in a notebook, else lines."""

from __future__ import annotations

import time
from collections.abc import Iterable
from types import TracebackType

from rich.console import Console
from rich.markup import escape

from nasp.supernet.architecture import Architecture
from nasp.training.events import (
    EpochEnded,
    Event,
    Loading,
    Measured,
    Measuring,
    Noted,
    Started,
    Stepped,
    Warned,
    Within,
)
from nasp.training.progress_line import Line, figure, lines_on

BALANCED, UNLIKE = "val_balanced_accuracy", 0.02
"""What is shown where it differs by that much from the accuracy, and so says something else."""
SHOWN = (
    *("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_top5"),
    BALANCED,
    *("test_loss", "test_accuracy", "test_top5", "valid_loss", "valid_perplexity"),
)
"""What is printed of an epoch's metrics first; others of the validation follow."""


class Watch:
    """An observer that shows progress on standard error; a context manager.

    Args:
        quiet: show warnings alone.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.console = Console(stderr=True, highlight=False, soft_wrap=True)
        self.quiet = quiet
        self.live = (self.console.is_terminal or self.console.is_jupyter) and not quiet
        self.progress = lines_on(self.console, self.live)
        self.line = Line(self.progress)
        self.others: dict[str, Line] = {}
        self.several = False
        self.told: set[str] = set()
        self.goes_on = False

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
            case Loading() | Stepped():
                if self.live:
                    self.line.show(event)
            case Started():
                self.line.show(event)
                self.told.clear()
                if event.epoch or event.step:
                    self.say(f"Going on after {event.phase} {event.epoch}, step {event.step}.")
            case EpochEnded():
                self.goes_on = event.epoch < self.line.started.epochs
                if not self.quiet:
                    self._print_epoch(event)
            case Measuring():
                self._show_measuring(event)
            case Measured():
                self._show_measured(event)
            case Within(what, inner):
                if what in self.others:
                    self.others[what].show(inner)
            case Noted(message):
                self.say(message)
            case Warned(message):
                if self.goes_on and message in self.told:  # else every epoch would say it
                    return
                self.told.add(message)
                text = f"[yellow]warning:[/yellow] {escape(message)}"
                # A terminal would break the lines within words.
                self.console.print(text, soft_wrap=not self.console.is_terminal)

    def say(self, text: str) -> None:
        """Print a line, unless quiet."""
        if not self.quiet:
            self.console.print(text, markup=False)

    def _show_measuring(self, event: Measuring) -> None:
        left, number = _time_left(event), f"{event.done + 1}/{event.total}"
        if self.live:
            done = event.done - len(self.others)
            what = event.what if event.alone else f"{done}/{event.total} done"
            self.line.advance(what, done, event.total, [left])
            self.others[event.what] = Line(self.progress, "" if event.alone else event.what)
            if not event.alone:
                self.others[event.what].advance("starts", 0, 1, [])
        elif event.alone:
            self.say(f"{number}  {event.what}  {left}".rstrip())
        self.several = not event.alone

    def _show_measured(self, event: Measured) -> None:
        left, number = _time_left(event), f"{event.done}/{event.total}"
        if event.what in self.others:
            self.others.pop(event.what).remove()
        if self.several:
            how = f"{event.seconds:.1f} s" if event.failure is None else f"failed: {event.failure}"
            self.say(f"{number}  {event.what}  {how}  {left}".rstrip())
            if self.live:
                self.line.advance(f"{number} done", event.done, event.total, [left])

    def _print_epoch(self, event: EpochEnded) -> None:
        left = f"ETA {_duration(self._seconds_left(event))}"
        parts = [self.line.epoch(event.epoch), *figures_of(event), left]
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

    def _seconds_left(self, event: EpochEnded) -> float:
        started = self.line.started
        elapsed = time.monotonic() - self.line.began
        epochs_done = event.epoch - started.epoch
        left = elapsed / epochs_done * (started.epochs - event.epoch)
        limit = started.seconds_left
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
    parts = [figure(name, metrics[name]) for name in shown]
    others = ((n, v) for n, v in metrics.items() if n.startswith("val_") and n not in SHOWN)
    parts += [f"{name.replace('_', ' ')} {value:.4g}" for name, value in others]
    if "changed_edges" in metrics:
        parts.append(f"edges changed {metrics['changed_edges']}/{metrics['edges']}")
        parts.append(f"margin {metrics['margin_mean']:.3f}")
    if metrics.get("knows") is False:
        parts.append("does not know yet")
    return [*parts, f"{event.seconds:.1f} s"]


def compact(architecture: Architecture) -> str:
    """Return the candidate of each edge that is on, in one line."""
    return "  ".join(f"{e}={c}" for e, c in architecture.edges.items() if c is not None)


def _time_left(event: Measuring | Measured) -> str:
    return "" if event.seconds_left is None else f"ETA {_duration(event.seconds_left)}"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
