"""Epochs of steps: metrics, checkpoints, a stop on request. Search and training both run here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from nasp.runs.checkpoints import Checkpointer
from nasp.runs.clock import CLOCKS, Clock
from nasp.runs.folder import RunFolder
from nasp.runs.interruption import Interrupted, interruptible
from nasp.supernet.architecture import Architecture
from nasp.training.events import EpochEnded, Observer, Started, Stepped, Warned
from nasp.training.meter import Meter
from nasp.training.ranks import Ranks
from nasp.training.task import Metrics


@dataclass(frozen=True)
class StepReport:
    """What one step of a loop has to say.

    Attributes:
        metrics: averaged over the epoch; a name that is missing in a step is left out of its mean.
        changed_edges: how many edges of the architecture the step changed; None in training.
        architecture: as it now stands; None in training.
    """

    metrics: Metrics
    changed_edges: int | None = None
    architecture: Architecture | None = None


@dataclass(frozen=True)
class EpochReport:
    """What the end of an epoch adds to its line of metrics.

    Attributes:
        line: what it adds.
        warnings: sentences.
        architecture: as it now stands; None in training.
        alphas: edge -> candidate -> its alpha; None in training.
        is_last: whether the loop ends with it, though there may be epochs left.
    """

    line: dict[str, Any]
    warnings: tuple[str, ...] = ()
    architecture: Architecture | None = None
    alphas: Mapping[str, Mapping[str, float]] | None = None
    is_last: bool = False


def run_epochs(
    epochs: int,
    steps_per_epoch: int,
    step: Callable[[], StepReport],
    end_epoch: Callable[[int], EpochReport],
    checkpointer: Checkpointer,
    meter: Meter,
    run: RunFolder | None,
    observe: Observer,
    minutes: float | None = None,
    phase: str = "epoch",
    clock: Clock = "wall",
    can_be_stopped: bool = False,
    ranks: Ranks | None = None,
) -> list[dict[str, Any]]:
    """Run all epochs that are not done yet; return their lines of metrics.

    Args:
        epochs: in all.
        steps_per_epoch: steps of one epoch.
        step: takes one step.
        end_epoch: is told which epoch (from 1) is done, and closes it.
        checkpointer: holds the state of all that `step` and `end_epoch` change, `meter` too.
        meter: takes the steps' metrics.
        run: where metrics go; None keeps none.
        observe: is told what happens.
        minutes: no epoch begins once the steps of those before it have taken so long, on this
            machine, pauses between resumes left out; default: all epochs are run.
        phase: what people are told that an epoch is called.
        can_be_stopped: whether an observer that returns True ends the loop; such a one is a part
            of its checkpoints.
        clock: by which these minutes, and the seconds of the steps, are counted.
        ranks: this process and those that take the same steps; default it is alone. The first
            one's wishes and clock count.

    Raises:
        Interrupted: the user asked to stop, and a checkpoint was saved.
    """
    now, ranks = CLOCKS[clock], ranks or Ranks()
    progress = checkpointer.restore() or {"epoch": 0, "step": 0, "seconds": 0.0}
    is_over = progress.get("stopped_at") == epochs
    first_epoch, first_step = progress["epoch"], progress["step"]
    lines: list[dict[str, Any]] = []
    spent = 0.0 if run is None else sum(line["seconds"] for line in run.timing())
    left = None if minutes is None else max(60 * minutes - spent - progress["seconds"], 0.0)
    observe(Started(first_epoch, epochs, steps_per_epoch, first_step, phase, left))
    with interruptible() as interruption:
        for epoch in range(first_epoch, epochs):
            is_late = minutes is not None and spent >= 60 * minutes
            if is_over or ranks.share(lambda late=is_late: late):  # type: ignore[misc]
                break
            started = now() - progress["seconds"]
            for index in range(first_step, steps_per_epoch):
                report = step()
                meter.add(report.metrics)
                answer = observe(
                    Stepped(
                        epoch + 1,
                        index + 1,
                        meter.means(),
                        report.changed_edges,
                        report.architecture,
                    )
                )
                wants = [interruption.asked, can_be_stopped and answer is True]
                is_asked, is_over = ranks.in_any(wants)
                if is_over and not is_asked:
                    break  # this epoch is closed as it is
                if is_asked or checkpointer.due():
                    checkpointer.save(
                        epoch * steps_per_epoch + index + 1,
                        {
                            "epoch": epoch,
                            "step": index + 1,
                            "seconds": now() - started,
                        },
                    )
                if is_asked:
                    raise Interrupted(_farewell(run, phase, epoch + 1, index + 1))
            seconds = now() - started
            spent += seconds
            ended = end_epoch(epoch + 1)
            is_over = is_over or ended.is_last
            line = {"epoch": epoch + 1, **meter.means(), **ended.line}
            if ended.warnings:
                line["warnings"] = list(ended.warnings)
            lines.append(line)
            if run is not None:
                run.append_metrics(line)
                run.append_timing({"epoch": epoch + 1, "seconds": round(seconds, 3)})
            meter.reset()
            first_step, progress["seconds"] = 0, 0.0
            closed = EpochEnded(epoch + 1, line, seconds, ended.architecture, ended.alphas)
            if can_be_stopped:  # before the checkpoint, which holds what it makes of it
                (is_over,) = ranks.in_any([observe(closed) is True or is_over])
            over = {"stopped_at": epochs} if is_over else {}
            checkpointer.save(
                (epoch + 1) * steps_per_epoch,
                {"epoch": epoch + 1, "step": 0, "seconds": 0.0, **over},
            )
            if not can_be_stopped:
                observe(closed)
            for warning in ended.warnings:
                observe(Warned(warning))
    return lines


def _farewell(run: RunFolder | None, phase: str, epoch: int, step: int) -> str:
    where = f"Stopped in {phase} {epoch} after step {step}"
    if run is None or not run.go_on:
        return f"{where}; nothing was saved, since no run folder was given."
    return f"{where}; all is saved. Go on with: {run.go_on}"
