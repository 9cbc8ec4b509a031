"""Training of a network of the user's own, from Python: `nasp.train`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

from pydantic import Field
from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter

from nasp.errors import UsageError, validated
from nasp.runs.folder import RunFolder
from nasp.runs.origin import origin
from nasp.training.callbacks import Callback
from nasp.training.evaluation import evaluation_mode, measured_loss
from nasp.training.events import Observer, nobody
from nasp.training.falling import Falling
from nasp.training.learner import Learner
from nasp.training.passes import SamePass
from nasp.training.recipe import Recipe
from nasp.training.supervised import as_task
from nasp.training.task import Batch, Task
from nasp.training.together import together, watching_first
from nasp.training.tracking import Tracked, tracked
from nasp.training.train import TrainConfig, Trained
from nasp.training.train import train as run_training


class OwnTrainConfig(Recipe, TrainConfig):
    """Settings of a training of one's own network: those of a search's weights."""

    measured_on: ClassVar[str] = "val"

    epoch_steps: int | None = Field(None, ge=1)
    """Steps of an epoch; default a pass over the training data."""

    def objective(
        self, network: nn.Module, task: Task, auxiliary: tuple[str, nn.Module] | None
    ) -> tuple[nn.Module, Task]:
        """Return network and task as they are."""
        del auxiliary
        return network, task

    def course(self, learner: Learner, network: nn.Module) -> Falling:
        """Return the learning rates."""
        return Falling(learner, network, self.rates(learner))


@runtime_checkable
class Builds(Protocol):
    """What a search found."""

    def build(self, weights: Any = "inherit") -> nn.Module:
        """Return the network."""
        ...


def train(
    network: nn.Module | Builds,
    train_loader: Iterable[Batch],
    val_loader: Iterable[Batch] | None = None,
    *,
    task: Task | Callable[[Any, Any], Tensor] | None = None,
    metrics: Mapping[str, Any] | None = None,
    weights: Literal["fresh", "inherit", "trained"] = "fresh",
    run: str | Path | None = None,
    observe: Observer = nobody,
    callbacks: Sequence[Callback] = (),
    progress: bool | None = None,
    logger: Any = None,
    **settings: Any,
) -> Trained:
    """Train a module, or what a search found, and measure it after each epoch.

    Args:
        network: a module, trained in place; or a `Found`, whose network is built.
        train_loader: batches to learn from.
        val_loader: what the network is measured on after each epoch, in evaluation mode, the
            whole loader; None measures nothing.
        task: see `nasp.search`.
        metrics: name -> a function of all outputs and targets, or an object with ``update``,
            ``compute`` and ``reset``, as torchmetrics has; for a loss of output and target.
        weights: that a `Found` is built with; default those from before the search.
        run: a folder that keeps the run; the same call goes on with one that was stopped. Its
            ``best.safetensors`` and ``weights.safetensors`` are the best and the last epoch's.
        observe: called with each `nasp.training.events.Event`.
        callbacks: the same, and one that returns True ends the training; see `nasp.callbacks`.
        progress: whether to show it; default in a terminal or a notebook.
        logger: one of Lightning's loggers, which is told settings and metrics, and at the end, if
            it takes files, the report.
        settings: fields of `OwnTrainConfig`, as in `nasp.search`: ``epochs=50``, ``lr=0.025``,
            ``optimizer="sgd"``, ``minutes=None``, ...

    Returns:
        The network and a line of metrics for each epoch.

    Raises:
        UsageError: a setting or an argument does not fit.
        NaspError: the training failed, such as by a loss that is not finite.
        Interrupted: Ctrl-C; with `run` the same call goes on.
    """
    config = validated(OwnTrainConfig, settings, "the training")
    given = as_task(task, metrics)
    module = network if isinstance(network, nn.Module) else network.build(weights)
    if any(isinstance(weight, UninitializedParameter) for weight in module.parameters()):
        for batch in SamePass(train_loader, config.seed, count=1):  # lazy modules take shape
            with evaluation_mode(module):
                measured_loss(given, module, batch)
    measured = None if val_loader is None else SamePass(val_loader, config.seed)

    wanted = {"kind": "python-train", "train": config.as_kept()}
    told = tracked(logger, config)
    opened = partial(called_folder, run, wanted, "nasp.train", told)
    with (
        together(config, opened) as folder,
        watching_first(config, observe, [*callbacks, *told], progress) as watchers,
    ):
        trained = run_training(
            module,
            train_loader,
            measured,
            given,
            config,
            run=folder,
            observe=watchers,
            epoch_steps=config.epoch_steps,
        )
        for each in told:
            each.ended(folder)
    return trained


@contextmanager
def called_folder(
    run: str | Path | None, wanted: Mapping[str, Any], call: str, told: Sequence[Tracked]
) -> Iterator[RunFolder | None]:
    """Open the run folder of a call from Python, begun where it was not yet.

    No other process works on it meanwhile.

    Args:
        run: its path; None: there is none, or where a tracker is told the result, a temporary one
            without checkpoints.
        wanted: what its config.json is to hold; other keys of it are not compared.
        call: how the user goes on with it.
        told: the trackers.

    Raises:
        UsageError: it holds something else.
    """
    if run is None:
        if not any(each.tracker.wants_result for each in told):
            yield None
            return
        with TemporaryDirectory(prefix="nasp-") as place:
            passing = RunFolder.create(Path(place) / call, {**wanted, **origin()})
            passing.go_on, passing.is_copy = "", True
            yield passing
        return
    path = Path(run)
    is_new = not (path / "config.json").is_file()
    folder = RunFolder.create(path, {**wanted, **origin()}) if is_new else RunFolder.open(path)
    held = folder.config()
    if {name: held.get(name) for name in wanted} != wanted:
        what = "training" if wanted["kind"] == "python-train" else "search"
        raise UsageError(f"{path} holds a {what} with other settings: give another folder.")
    folder.go_on = f"{call}(..., run='{path}')"
    with folder.lock():
        try:
            yield folder
        except UsageError:
            if is_new:
                folder.discard_unless_under_way()
            raise
