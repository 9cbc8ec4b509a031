"""Re-ranking: each candidate architecture is measured with the supernet's own weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from nasp.bilevel.selection.measure import SCORES, measure, with_batch_statistics
from nasp.runs.checkpoints import Checkpointer
from nasp.runs.folder import RunFolder
from nasp.supernet.architecture import Architecture
from nasp.supernet.supernet import Supernet
from nasp.training.events import Observer
from nasp.training.loop import EpochReport, StepReport, run_epochs
from nasp.training.meter import Meter
from nasp.training.recipe import Recipe
from nasp.training.task import Batch, Metrics, Task


def rerank(
    supernet: Supernet,
    candidates: Sequence[Architecture],
    batches: Iterable[Batch],
    task: Task,
    recipe: Recipe,
    run: RunFolder | None,
    observe: Observer,
) -> list[Metrics]:
    """Return each candidate's metrics under the shared weights, in the order given.

    Args:
        supernet: left as it is.
        candidates: at least one.
        batches: the same at every pass.
        task: the task.
        recipe: says device, precision, and how often a checkpoint is due.
        run: a folder of its own, from which a re-ranking that was stopped goes on.
        observe: is told what happens; a candidate is a step.
    """
    fabric = recipe.fabric()
    ranked = with_batch_statistics(supernet)
    network = fabric.setup_module(ranked.network)
    measured, meter = Measured(), Meter()
    checkpointer = Checkpointer(
        run, {"measured": measured, "meter": meter}, recipe.checkpoint_minutes
    )

    def step() -> StepReport:
        architecture = candidates[len(measured.rows)]
        ranked.single(ranked.path(architecture))
        metrics = measure(network, batches, task, fabric)
        measured.rows.append(metrics)
        return StepReport({f"val_{n}": value for n, value in metrics.items() if n not in SCORES})

    def end_epoch(_: int) -> EpochReport:
        best = max(range(len(candidates)), key=lambda index: measured.rows[index]["score"])
        return EpochReport({"best": dict(candidates[best].edges)}, (), candidates[best])

    run_epochs(
        1,
        len(candidates),
        step,
        end_epoch,
        checkpointer,
        meter,
        run,
        observe,
        phase="re-ranking",
        ranks=recipe.ranks,
    )
    return measured.rows


class Measured:
    """The metrics of the candidates that are done."""

    def __init__(self) -> None:
        self.rows: list[Metrics] = []

    def state_dict(self) -> dict[str, Any]:
        """Return the rows."""
        return {"rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a state that `state_dict` returned."""
        self.rows = list(state["rows"])
