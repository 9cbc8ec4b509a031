"""Passes over a loader: without end, from which a stopped run goes on; and always the same one."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Protocol, runtime_checkable

from torch.utils.data import DataLoader

from nasp.errors import UsageError
from nasp.runs.random_state import random_states, restore_random_states, seed_all
from nasp.training.batches import Part
from nasp.training.own_states import own_states, restore_own_states
from nasp.training.ranks import Ranks
from nasp.training.shares import shared
from nasp.training.task import Batch, Task


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


class EndlessPasses:
    """Runs one loader over and over; the loader is only asked anew when a pass ends.

    A loader without a state of its own (a plain `torch.utils.data.DataLoader`) is brought back
    by replaying the pass under way from its random state.

    Args:
        loader: gives batches, each pass at least one.
        name: how error messages call it.
        task: of the batches.
        ranks: the processes that share them, where each may read its share alone.

    Attributes:
        whole: the loader itself; `loader` may read shares.
        first_place: where the loader was before the first pass.
    """

    def __init__(
        self,
        loader: Iterable[Batch],
        name: str = "the loader",
        task: Task | None = None,
        ranks: Ranks | None = None,
    ) -> None:
        self.whole = _fit(loader)
        self.loader = self.whole if task is None else shared(self.whole, task, ranks)
        self.name = name
        self.first_place = _place(self.loader)
        self._batches: Iterator[Batch] | None = None
        self._rng_at_start = self._rng_now()
        self._own_at_start = self._own_now()
        self._position = 0
        self._ahead: list[Batch] = []

    def anew(self, task: Task | None = None, ranks: Ranks | None = None) -> EndlessPasses:
        """Return others over the same loader, which begin where these did; they move the loader.

        Args:
            task: as of the class.
            ranks: as of the class.
        """
        _go_to(self.loader, self.first_place)
        return EndlessPasses(self.whole, self.name, task, ranks)

    def peek(self) -> Batch:
        """Return what `next` will return; not to be followed by `state_dict`.

        Of a share it is the batch that it is.
        """
        batch = self._peek()
        return batch.batch if isinstance(batch, Part) else batch

    def _peek(self) -> Batch:
        if isinstance(self.loader, ResumableLoader):
            # Put back: what a pass leaves in a batch must be in the one that `next` returns.
            place, position = self.loader.state_dict(), self._position
            batch = next(self)
            self.loader.load_state_dict(place)
            self._batches, self._position = iter(self.loader), position
            return batch
        self._ahead = self._ahead or [next(self)]
        return self._ahead[0]

    def __next__(self) -> Batch:
        """Return the next batch.

        Raises:
            UsageError: a pass gave no batch at all.
        """
        if self._ahead:
            return self._ahead.pop()
        if self._batches is None:
            self._begin_pass()
        for _ in range(3):  # the rest of a pass, which may be none; a whole one
            # No `or`: the iterator of a stream has a len() that raises.
            for batch in () if self._batches is None else self._batches:
                self._position += 1
                return batch
            self._begin_pass()
        raise UsageError(f"{self.name} gives no batch: it needs at least one.")

    def _begin_pass(self) -> None:
        self._rng_at_start = self._rng_now()
        self._own_at_start = self._own_now()
        self._batches = iter(self.loader)
        self._position = 0

    def state_dict(self) -> dict[str, Any]:
        """Return where the pass under way is."""
        state: dict[str, Any] = {"rng": self._rng_at_start, "position": self._position}
        if isinstance(self.loader, ResumableLoader):
            state["loader"] = self.loader.state_dict()
        else:
            state["own"] = (self._own_at_start, self._own_now())
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned; moves the global random states."""
        self._batches, self._ahead = None, []
        if isinstance(self.loader, ResumableLoader):
            self.loader.load_state_dict(state["loader"])
            self._batches = iter(self.loader)
        elif state["position"] > 0:
            restore_random_states(state["rng"])
            at_start, now = state["own"]
            restore_own_states(self.loader, at_start)
            self._begin_pass()
            for _ in range(state["position"]):
                next(self)
            restore_own_states(self.loader, now)
        else:
            restore_own_states(self.loader, state["own"][1])
        self._rng_at_start, self._position = state["rng"], state["position"]

    def return_to(self, place: Any) -> None:
        """Go on from a place where the loader was, after somebody else's pass."""
        _go_to(self.loader, place)
        if isinstance(self.loader, ResumableLoader) and self._batches is not None:
            self._batches = iter(self.loader)

    def _rng_now(self) -> dict[str, Any]:
        return {} if isinstance(self.loader, ResumableLoader) else random_states()

    def _own_now(self) -> list[Any]:
        return [] if isinstance(self.loader, ResumableLoader) else own_states(self.loader)


class SamePass:
    """Gives the same batches at each pass, and leaves loader and random states as they were.

    Args:
        loader: gives batches; of `EndlessPasses` over one with a state of its own, the passes
            begin where their first one did, so that they are whole.
        seed: each pass begins with the global generators at this seed.
        count: how many batches a pass has at most; default all.
    """

    def __init__(
        self, loader: Iterable[Batch] | EndlessPasses, seed: int, count: int | None = None
    ) -> None:
        self._passes = loader if isinstance(loader, EndlessPasses) else EndlessPasses(loader)
        self.loader = self._passes.whole
        self.seed = seed
        self.count = count
        is_resumable = isinstance(self.loader, ResumableLoader)
        self._place = self._passes.first_place if is_resumable else _place(self.loader)

    def __iter__(self) -> Iterator[Batch]:
        states, place = random_states(), _place(self.loader)
        seed_all(self.seed)
        _go_to(self.loader, self._place)
        try:
            yield from islice(self.loader, self.count)
        finally:
            restore_random_states(states)
            if self._passes.loader is self.loader:
                self._passes.return_to(place)
            else:
                _go_to(self.loader, place)


def pass_length(loader: Iterable[Batch]) -> int | None:
    """Return how many batches a pass has; None where the loader does not say."""
    try:
        return len(loader)  # type: ignore[arg-type]
    except (TypeError, NotImplementedError):
        return None


def epoch_length(loader: Iterable[Batch], otherwise: int | None = None) -> int:
    """Return how many batches a pass of the training loader has.

    Args:
        loader: the training loader.
        otherwise: what is returned where it does not say.

    Raises:
        UsageError: it does not say, or has none.
    """
    length = pass_length(loader)
    if length is None:
        length = otherwise
    if length is None:
        raise UsageError(
            "The training loader must have a length (len), which says how long an epoch is: give"
            " one that has, or epoch_steps."
        )
    if length == 0:
        raise UsageError("The training loader gives no batch: it needs at least one.")
    return length


def _fit(loader: Iterable[Batch]) -> Iterable[Batch]:
    """Return a loader whose passes do not depend on those before them.

    Workers that persist keep random states that no checkpoint holds, and one iterator for all.
    """
    if not isinstance(loader, DataLoader) or not loader.persistent_workers:
        return loader
    warnings.warn(
        "persistent_workers=True is not followed: a run can only go on to the same bits where the"
        " workers of a loader start anew with each pass.",
        UserWarning,
        stacklevel=4,
    )
    anew = copy.copy(loader)
    anew.__dict__.update(persistent_workers=False, _iterator=None)
    return anew


def _place(loader: object) -> Any:
    """Return where a loader of either kind is."""
    return loader.state_dict() if isinstance(loader, ResumableLoader) else own_states(loader)


def _go_to(loader: object, place: Any) -> None:
    if isinstance(loader, ResumableLoader):
        loader.load_state_dict(place)
    else:
        restore_own_states(loader, place)
