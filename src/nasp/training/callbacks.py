"""Small watchers of a search or a training, which may stop it; `nasp.callbacks`."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

from nasp.errors import UsageError
from nasp.training.events import EpochEnded, Event, Observer, Started, Stepped, Warned
from nasp.training.progress import Watch, line_of

Callback = Callable[[Event], bool | None]
"""Called with each event; True stops the loop after it, and what was found is returned."""


class EarlyStopping:
    """Stops once a metric has not improved for some epochs.

    Args:
        metric: a name in an epoch's line, such as ``"val_loss"``.
        patience: epochs without a new best that are waited for; default 5.
        higher_is_better: which way; default lower.
    """

    def __init__(
        self, metric: str = "val_loss", patience: int = 5, higher_is_better: bool = False
    ) -> None:
        self.metric, self.patience, self.higher_is_better = metric, patience, higher_is_better
        self.best: float | None = None
        self.waited = 0

    def __call__(self, event: Event) -> bool:
        """Look at an epoch's line."""
        if not isinstance(event, EpochEnded):
            return False
        value = event.metrics.get(self.metric)
        is_validated = any(name.startswith("val_") for name in event.metrics)
        if value is None and self.metric.startswith("val_") and not is_validated:
            return False  # a warm-up
        if value is None:
            known = [name for name, v in event.metrics.items() if isinstance(v, float)]
            raise UsageError(
                f"EarlyStopping waits for '{self.metric}', but an epoch has {', '.join(known)}."
            )
        signed = value if self.higher_is_better else -value
        if self.best is None or signed > self.best:
            self.best, self.waited = signed, 0
        else:
            self.waited += 1
        return self.waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        """Return the best, and for how long it has stood."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.best, self.waited = state["best"], state["waited"]


class StopAfter:
    """Stops after the step in which so many minutes are over, pauses between resumes left out.

    Args:
        minutes: of wall clock.
    """

    def __init__(self, minutes: float) -> None:
        self.minutes = minutes
        self._before = 0.0
        self._began = time.monotonic()

    def __call__(self, event: Event) -> bool:
        """Look at the clock."""
        if isinstance(event, Started):
            self._began = time.monotonic()
        return isinstance(event, Stepped) and self._spent() >= 60 * self.minutes

    def _spent(self) -> float:
        return self._before + time.monotonic() - self._began

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds so far."""
        return {"seconds": self._spent()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self._before, self._began = state["seconds"], time.monotonic()


class Print:
    """Prints a line an epoch to standard output, wherever that leads."""

    def __call__(self, event: Event) -> None:
        """Print an epoch's line."""
        if isinstance(event, EpochEnded):
            sys.stdout.write(f"{line_of(event)}\n")


@runtime_checkable
class _Stateful(Protocol):
    def state_dict(self) -> Any: ...

    def load_state_dict(self, state: Any) -> None: ...


class Watchers:
    """What a search or a training from Python tells its events to; a part of checkpoints.

    Args:
        observe: is told everything.
        callbacks: the same, and each of them may stop the loop.
    """

    def __init__(self, observe: Observer, callbacks: Sequence[Callback]) -> None:
        self.observe, self.callbacks = observe, list(callbacks)

    def __call__(self, event: Event) -> bool:
        """Tell all; return whether one wants to stop. A warning is one of Python's, too."""
        if isinstance(event, Warned):
            warnings.warn(event.message, UserWarning, stacklevel=2)
        self.observe(event)
        answers = [each(event) for each in self.callbacks]
        return any(answer is True for answer in answers)

    def state_dict(self) -> list[tuple[str, Any]]:
        """Return the states of the callbacks that have one, by the names of their classes."""
        callbacks: list[Any] = [each for each in self.callbacks if isinstance(each, _Stateful)]
        return [(type(each).__name__, each.state_dict()) for each in callbacks]

    def load_state_dict(self, state: Sequence[tuple[str, Any]]) -> None:
        """Take up such states; a callback that is new begins anew."""
        left = list(state)
        for each in self.callbacks:
            name = type(each).__name__
            found = next((entry for entry in left if entry[0] == name), None)
            if isinstance(each, _Stateful) and found is not None:
                left.remove(found)
                each.load_state_dict(found[1])


@contextmanager
def watching(
    observe: Observer, callbacks: Sequence[Callback], progress: bool | None
) -> Iterator[Watchers]:
    """Show progress on standard error where it is wanted, beside the callbacks.

    Args:
        observe: see `Watchers`.
        callbacks: see `Watchers`.
        progress: None shows it in a terminal or a notebook, and nowhere else.
    """
    for each in callbacks:
        if not callable(each):
            raise UsageError(f"A callback is called with each event; {each!r} cannot be.")
    watch = Watch()
    if not (watch.live if progress is None else progress):
        yield Watchers(observe, callbacks)
        return
    with watch:

        def both(event: Event) -> None:
            if not isinstance(event, Warned):  # which Python shows itself
                watch(event)
            observe(event)

        yield Watchers(both, callbacks)
