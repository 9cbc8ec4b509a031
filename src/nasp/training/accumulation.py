"""Whether a loss is still itself when a batch is taken in parts."""

from __future__ import annotations

import math

from nasp.errors import UsageError
from nasp.runs.random_state import random_states, restore_random_states
from nasp.training.batches import moved, parts_of
from nasp.training.divisors import is_known
from nasp.training.evaluation import evaluation_mode, measured_loss
from nasp.training.learner import Learner
from nasp.training.supervised import Supervised
from nasp.training.task import Batch, Evaluates


def check_parts(learner: Learner, batch: Batch) -> None:
    """Refuse to accumulate where the parts' losses do not add up to that of the whole batch.

    Losses of torch's are known, and not asked; a loss that draws cannot be. The network is in
    evaluation mode, in which examples do not see each other, and is left as it is.

    Args:
        learner: its network runs without probes.
        batch: the first one.

    Raises:
        UsageError: they do not add up.
    """
    task, network = learner.task, learner.network
    known = isinstance(task, Supervised) and is_known(task.criterion)
    if learner.parts == 1 or known or isinstance(task, Evaluates):
        return
    device, drawn = learner.fabric.device, random_states()

    def loss(part: Batch) -> float:
        return float(measured_loss(task, network, moved(part, device))[0])

    with evaluation_mode(network):
        whole, again = loss(batch), loss(batch)
        restore_random_states(drawn)
        parts = parts_of(batch, learner.parts, task)
        together = sum(part.of_loss * loss(part.batch) for part in parts)
    restore_random_states(drawn)
    near = 1e-3 if learner.fabric.strategy.precision.precision in ("32-true", "64-true") else 0.02
    if not math.isfinite(whole) or not math.isclose(whole, again, rel_tol=near, abs_tol=near):
        return
    if not math.isclose(whole, together, rel_tol=near, abs_tol=near * 0.01):
        raise UsageError(
            f"accumulate={learner.accumulate}{_devices(learner)} would change the loss: of the"
            f" first batch it is {whole:.4g}, of its parts together {together:.4g}, so it is no"
            " mean over examples. Leave it at 1, or give a task with a method split(batch, parts)"
            " that says each part's share of the loss."
        )


def _devices(learner: Learner) -> str:
    return f", devices={learner.ranks.size}" if learner.ranks.size > 1 else ""
