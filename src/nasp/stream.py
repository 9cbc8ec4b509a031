"""A loader's batches without end, from which a stopped run goes on where it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

import torch

from nasp.errors import UsageError
from nasp.tasks.task import Batch


@runtime_checkable
class ResumableLoader(Protocol):
    """A loader that can say where it is, and start from there."""

    def __iter__(self) -> Iterator[Batch]: ...

    def state_dict(self) -> dict[str, Any]:
        """Return where the pass under way is."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next pass begin there."""
        ...


class Stream:
    """Runs one loader over and over; the loader is only asked anew when a pass ends.

    A loader without a state of its own (a plain `torch.utils.data.DataLoader`) is brought back
    by replaying the pass under way from its random state.

    Args:
        loader: gives batches, each pass at least one.
        name: how error messages call it.
    """

    def __init__(self, loader: Iterable[Batch], name: str = "the loader") -> None:
        self.loader = loader
        self.name = name
        self._batches: Iterator[Batch] | None = None
        self._rng_at_start = torch.get_rng_state()
        self._position = 0

    def __next__(self) -> Batch:
        """Return the next batch.

        Raises:
            UsageError: a pass gave no batch at all.
        """
        if self._batches is None:
            self._begin_pass()
        for _ in range(2):
            for batch in self._batches or ():
                self._position += 1
                return batch
            self._begin_pass()
        raise UsageError(f"{self.name} gives no batch: it needs at least one.")

    def _begin_pass(self) -> None:
        self._rng_at_start = torch.get_rng_state()
        self._batches = iter(self.loader)
        self._position = 0

    def state_dict(self) -> dict[str, Any]:
        """Return where the stream is."""
        state: dict[str, Any] = {"rng": self._rng_at_start, "position": self._position}
        if isinstance(self.loader, ResumableLoader):
            state["loader"] = self.loader.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned; moves torch's global random state."""
        if isinstance(self.loader, ResumableLoader):
            self.loader.load_state_dict(state["loader"])
            self._batches = iter(self.loader)
        elif state["position"] > 0:
            torch.set_rng_state(state["rng"])
            self._begin_pass()
            for _ in range(state["position"]):
                next(self)
        self._rng_at_start, self._position = state["rng"], state["position"]
