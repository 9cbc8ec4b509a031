"""What is found out on a search's first batch, before its first step."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

from torch import Tensor
from torch.nn.parameter import is_lazy

from nasp.errors import UsageError
from nasp.strategies.strategy import Probes, Strategy
from nasp.supernet.checked import Seen, check_candidates, run_candidates
from nasp.supernet.copies import copied
from nasp.supernet.probe.passes import SECOND_ORDER
from nasp.supernet.supernet import Supernet
from nasp.training.batches import Part, batch_length, moved, parts_of
from nasp.training.events import Observer, Warned
from nasp.training.learner import Learner
from nasp.training.passes import SamePass
from nasp.training.task import Batch, Task, module_of
from nasp.training.unread import NotFiniteError

Result = TypeVar("Result")


def initialise_lazy_modules(
    supernet: Supernet, task: Task, loader: Iterable[Batch], seed: int
) -> None:
    """Let one batch give lazy modules their shapes; in evaluation mode, so that no other moves.

    Raises:
        UsageError: no pass reaches one of them.
    """
    for is_training in (False, True):
        if not _uninitialised(supernet):
            return
        for batch in SamePass(loader, seed, count=1):
            here = moved(batch, supernet.device)
            supernet.train(is_training)
            run_candidates(supernet, partial(task.loss, supernet, here))
    supernet.train()
    if left := _uninitialised(supernet):
        raise UsageError(
            f"The lazy '{left[0]}' has no shape yet, for no pass over the first batch"
            " reaches it: run the network once before the search, or take it out."
        )


def check_first_batch(
    supernet: Supernet, learner: Learner, batch: Batch, must_be_finite: bool = True
) -> Seen:
    """Check the candidates on a batch; see `nasp.supernet.checked.check_candidates`.

    The fused probe learns whether the loss runs backward passes of its own.

    Args:
        supernet: left as it is.
        learner: has the task and the device.
        batch: left as it is.
        must_be_finite: refuse a candidate whose values are not: not needed where each network is
            trained alone, and such a one loses.
    """
    task, count = learner.task, learner.accumulate
    batch = batch.batch if isinstance(batch, Part) else batch
    if learner.is_static:  # nothing depends on the batch: two examples will do
        count = max(count, (batch_length(batch) or 1) // 2)
    part = parts_of(batch, count, task)[0].batch

    def loss() -> Tensor:
        return task.loss(learner.network, moved(_copied(part), learner.fabric.device))[0]

    seen = check_candidates(supernet, loss, must_be_finite, task, module_of(task))
    supernet.has_inner_passes = seen.has_inner_passes
    return seen


def refuse_or_warn(seen: Seen, strategy: Strategy, observe: Observer) -> None:
    """Say what a search by this strategy would make of what a checked pass saw.

    Raises:
        UsageError: the strategy's probe would give another gradient than the loss has, or no
            edge is ever run.
    """
    if seen.is_second_order and isinstance(strategy, Probes) and strategy.probes:
        raise UsageError(SECOND_ORDER)
    if len(seen.missed) == len(strategy.derive().edges):
        raise UsageError(
            "The first batch ran none of the network's Choices, so there is nothing to search: call"
            " them in its forward."
        )
    if seen.missed:
        several = len(seen.missed) > 1
        edges = ", ".join(f"'{edge}'" for edge in seen.missed)
        observe(
            Warned(
                f"The first batch ran none of the candidates of {'edges' if several else 'edge'}"
                f" {edges}: if the network's forward never calls {'them' if several else 'it'},"
                " what the architecture holds there is chance; take the Choice out, or call it."
            )
        )


def take_step(
    supernet: Supernet, learner: Learner, step: Callable[[Batch], Result], batch: Batch
) -> Result:
    """Return what a strategy's step returns.

    Raises:
        NotFiniteError: loss or gradient is not finite; a candidate that is the cause is named.
    """
    try:
        return step(batch)
    except NotFiniteError as error:
        try:
            check_first_batch(supernet, learner, batch)
        except UsageError as cause:
            raise NotFiniteError(f"{error} {cause}") from error
        raise


def _copied(batch: Batch) -> Batch:
    try:
        return copied(batch)
    except (TypeError, RuntimeError, AttributeError):  # what it is made of cannot be copied
        return batch


def _uninitialised(supernet: Supernet) -> list[str]:
    network = supernet.network
    tensors = [*network.named_parameters(), *network.named_buffers()]
    return [name for name, each in tensors if is_lazy(each)]
